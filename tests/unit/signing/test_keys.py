"""Keys, also in the form in which cosign encrypts them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import nacl.secret
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import InputError
from nixdock.signing.encrypted_key import decrypted_key, encrypted_key_pem
from nixdock.signing.key_file import read_key
from nixdock.signing.keys import PublicKey, SigningKey, parse_public_key, parse_signing_key

from .independent import cosign_pem, make_key_pair, openssl, secret_box, verifies

PASSWORD = b"correct horse"
KEY = SigningKey.generate()


def parsed(data: bytes, password: bytes = PASSWORD) -> SigningKey:
    return parse_signing_key(data, "the file", lambda: password)


def never() -> bytes:
    raise AssertionError("no password is needed")


@given(st.binary(max_size=300))
def test_the_independent_secret_box_is_right(data: bytes) -> None:
    key, nonce = bytes(range(32)), bytes(24)
    assert nacl.secret.SecretBox(key).decrypt(secret_box(key, nonce, data), nonce) == data


@pytest.mark.tools
@pytest.mark.parametrize(
    ("n", "label"), [(1 << 15, "COSIGN"), (1 << 16, "SIGSTORE"), (1 << 17, "SIGSTORE")]
)
def test_keys_of_another_implementation(tmp_path: Path, n: int, label: str) -> None:
    private, public = make_key_pair(tmp_path)
    der = openssl("pkcs8", "-topk8", "-nocrypt", "-in", private, "-outform", "DER").stdout
    pem = cosign_pem(der, PASSWORD, n, label)
    assert parsed(pem).public.pem == public.read_bytes()
    with pytest.raises(InputError, match="the password is wrong, or the key is damaged"):
        parsed(pem, b"wrong horse")


@pytest.mark.tools
def test_openssl_accepts_signatures_and_their_keys(tmp_path: Path) -> None:
    public = tmp_path / "k.pub"
    public.write_bytes(KEY.public.pem)
    signature = KEY.sign(b"message")
    assert verifies(public, b"message", signature)
    assert not verifies(public, b"massage", signature)
    assert KEY.public.has_signed(b"message", signature)


@pytest.mark.tools
def test_signatures_of_openssl_are_accepted(tmp_path: Path) -> None:
    private, public = make_key_pair(tmp_path)
    signature = openssl("dgst", "-sha256", "-sign", private, stdin=b"message").stdout
    key = parse_public_key(public.read_bytes(), "x")
    assert key.has_signed(b"message", signature)
    assert not key.has_signed(b"massage", signature)
    assert not KEY.public.has_signed(b"message", signature)


@pytest.mark.tools
@pytest.mark.parametrize("form", ["pkcs8", "sec1", "encrypted", "encrypted sec1"])
def test_private_keys_in_other_forms(tmp_path: Path, form: str) -> None:
    private, public = make_key_pair(tmp_path)
    arguments = {
        "pkcs8": ["pkcs8", "-topk8", "-nocrypt"],
        "sec1": ["ec"],
        "encrypted": ["pkcs8", "-topk8", "-passout", "pass:correct horse"],
        "encrypted sec1": ["ec", "-aes256", "-passout", "pass:correct horse"],
    }[form]
    data = openssl(*arguments, "-in", private).stdout
    if "encrypted" in form:
        key = parsed(data)
        with pytest.raises(InputError, match="its password is wrong"):
            parsed(data, b"wrong horse")
    else:
        key = parse_signing_key(data, "x", never)
    assert key.public.pem == public.read_bytes()


def test_encryption_round_trip_and_its_form() -> None:
    one, other = KEY.encrypted_pem(PASSWORD), KEY.encrypted_pem(PASSWORD)
    assert one != other, "salt and nonce are new each time"
    assert one.startswith(b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n")
    assert max(map(len, one.splitlines())) <= 64
    assert parsed(one).public.pem == parsed(other).public.pem == KEY.public.pem
    assert parsed(KEY.encrypted_pem(b""), b"").public.pem == KEY.public.pem


@pytest.mark.parametrize("text", [b"The key of the app:\n", b"\n", b"\xef\xbb\xbf"])
def test_text_around_a_key(text: bytes) -> None:
    """PEM may have text before and after it (RFC 7468, section 2)."""
    plain = KEY.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for pem in (plain, KEY.encrypted_pem(PASSWORD)):
        assert parsed(text + pem + b"\n" + text).public == KEY.public
    assert parse_public_key(text + KEY.public.pem + text, "x") == KEY.public


def test_keys_that_are_in_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("awskms:///alias/app", "k8s://namespace/key", "https://example.invalid/a.pub"):
        kind = url.partition(":")[0]
        with pytest.raises(InputError, match=f"must be in a file, and not at {kind}"):
            read_key(Path(url), "the private key")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"can't read the private key a\.key: No such file"):
        read_key(Path("a.key"), "the private key")
    Path("keys:").mkdir()
    Path("keys:/a").write_bytes(b"x")
    assert read_key(Path("keys:/a"), "the private key") == b"x"


def test_a_key_of_openssh() -> None:
    """It is neither damaged, nor was a password asked for."""
    pem = KEY.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    with pytest.raises(InputError, match="the file is a key in the form of OpenSSH; write it"):
        parse_signing_key(pem, "the file", never)


def test_the_password_of_a_key_that_has_none_is_not_at_fault() -> None:
    plain = KEY.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InputError) as caught:
        parse_signing_key(plain.replace(b"M", b"N"), "the file", never)
    assert str(caught.value) == "the file is a damaged private key"


def test_a_changed_bit_of_a_key_is_refused() -> None:
    """The bits that are tried are the same each time: each takes scrypt's time."""
    pem = encrypted_key_pem(b"secret text", PASSWORD)
    start = pem.index(b"\n") + 1
    end = pem.rindex(b"\n-----END")
    for place in random.Random(1).sample(range(start, end), 12):
        changed = bytearray(pem)
        changed[place] ^= 1
        if bytes(changed).split() != pem.split():
            with pytest.raises(InputError):
                decrypted_key(bytes(changed), "x", PASSWORD)


@pytest.mark.parametrize(
    "changes",
    [
        {"kdf": {"name": "scrypt", "params": {"N": 1 << 30, "r": 8, "p": 1}, "salt": "AA=="}},
        {"kdf": {"name": "scrypt", "params": {"N": 1 << 15, "r": 1 << 20, "p": 1}, "salt": "AA=="}},
        {"kdf": {"name": "scrypt", "params": {"N": 1 << 15, "r": 8, "p": 1 << 20}, "salt": "AA=="}},
        {"kdf": {"name": "argon2", "params": {"N": 1 << 15, "r": 8, "p": 1}, "salt": "AA=="}},
        {"cipher": {"name": "rot13", "nonce": "AA=="}},
        {"cipher": {"name": "nacl/secretbox", "nonce": "AA=="}},
        {"ciphertext": "!"},
        {"ciphertext": 1},
        {"kdf": None},
    ],
)
def test_hostile_parameters_take_neither_time_nor_memory(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="is a damaged private key"):
        parsed(cosign_pem(b"x", PASSWORD, 1 << 15, **changes))


@pytest.mark.parametrize("data", [b"", b"text", b"-----BEGIN CERTIFICATE-----\n"])
def test_files_without_a_key(data: bytes) -> None:
    with pytest.raises(InputError, match="the file is not a private key in PEM: it is no key"):
        parsed(data)
    with pytest.raises(InputError, match="is not a public key in PEM"):
        parse_public_key(data, "the file")


def test_the_other_key_of_the_pair() -> None:
    with pytest.raises(InputError, match="it is a public key; sign with the private one"):
        parsed(KEY.public.pem)
    with pytest.raises(InputError, match="is a private key; signatures are verified with the"):
        parse_public_key(KEY.encrypted_pem(PASSWORD), "the file")


@pytest.mark.parametrize("between", [b"", b"\r\n", b"second: "])
def test_several_keys_in_a_file(between: bytes) -> None:
    """Only the first would count, and nobody would know."""
    other = SigningKey.generate()
    public = KEY.public.pem + between + other.public.pem
    with pytest.raises(InputError, match="the file has 2 public keys, but may have only one; wr"):
        parse_public_key(public, "the file")
    encrypted = KEY.encrypted_pem(PASSWORD) + between + other.encrypted_pem(PASSWORD)
    plain, second = (
        key.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        for key in (KEY, other)
    )
    for private in (encrypted, plain + between + second, plain + between + encrypted):
        with pytest.raises(
            InputError, match=r"the file has \d private keys, but may have only one"
        ):
            parse_signing_key(private, "the file", never)
    # A key pair is no choice.
    assert parsed(plain + between + KEY.public.pem).public == KEY.public


@pytest.mark.tools
def test_other_kinds_of_keys(tmp_path: Path) -> None:
    private, public = make_key_pair(tmp_path, "secp384r1")
    for parse in (lambda: parsed(private.read_bytes()), lambda: parse_public_key(public.read_bytes(), "x")):  # fmt: skip # noqa: E501
        with pytest.raises(InputError, match="is not a key for ECDSA on the curve P-256"):
            parse()


def test_errors_do_not_repeat_secrets() -> None:
    pem = KEY.encrypted_pem(PASSWORD)
    body = pem.splitlines()[1].decode()
    damaged = pem.replace(body[:10].encode(), b"")
    for data, password in ((pem, b"hunter2-wrong"), (damaged, PASSWORD), (damaged[:200], PASSWORD)):
        with pytest.raises(InputError) as caught:
            parsed(data, password)
        for secret in (body[20:40], "hunter2", "correct horse"):
            assert secret not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "horse" not in repr(KEY)
    assert repr(KEY).startswith("<")


@given(st.binary(max_size=100))
def test_signatures_are_reproducible(data: bytes) -> None:
    assert KEY.sign(data) == KEY.sign(data)


def test_damaged_signatures() -> None:
    signature = KEY.sign(b"message")
    for data in (b"", signature[:-1], signature + b"\0", bytes(len(signature))):
        assert not KEY.public.has_signed(b"message", data)
    for place in range(len(signature) * 8):
        changed = bytearray(signature)
        changed[place // 8] ^= 1 << place % 8
        assert not KEY.public.has_signed(b"message", bytes(changed))


def test_the_hint_names_the_key() -> None:
    assert KEY.public.hint == PublicKey(KEY.key.public_key()).hint
    assert KEY.public.hint != SigningKey.generate().public.hint
    assert len(KEY.public.hint) == 44
