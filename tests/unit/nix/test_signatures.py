from __future__ import annotations

import pytest
from msgspec.structs import replace

from nixdock.errors import ClosureError, InputError
from nixdock.nix.closure import PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.signatures import TrustedKeys, fingerprint, signer_of
from nixdock.nix.store_path import StorePath

# A key and a signature that Nix 2.8 has made.
KEY = "test-1:GHQFtxRvpTFh8w0o0jJxwymCYI9UMKUgD37BQiwturM="
SIGNATURE = (
    "test-1:yvXaUiPQf5ZByJis9otEqMn7ltVpgeZtpDPlF2CLDfZqLTD5MQdwj8jsvP8SQoXYEuJFA5X9UCUkUbJ0iTLG"
    "BQ=="
)
INFO = PathInfo(
    path=StorePath("/nix/store/fdqn67k0kxmfr48g6gnqpv9hsynk6has-nixdock-demo-profile"),
    nar_size=592,
    nar_hash=Hash.parse("sha256:0rb3k2qa1kaxha32n12b7xggdi6jkvwknl6nizdw5kpfgxmln63z"),
    references=(
        StorePath("/nix/store/sd60mi5bxbfdkqclgynrx6mwrsv8pqs6-nixdock-demo-licence"),
        StorePath("/nix/store/lg60p5h482a3d7fs5j8hr74qcbpsa979-nixdock-demo"),
    ),
)
KEYS = TrustedKeys.parse([KEY])


def test_the_fingerprint_has_the_references_in_order() -> None:
    assert fingerprint(INFO) == (
        b"1;/nix/store/fdqn67k0kxmfr48g6gnqpv9hsynk6has-nixdock-demo-profile;"
        b"sha256:0rb3k2qa1kaxha32n12b7xggdi6jkvwknl6nizdw5kpfgxmln63z;592;"
        b"/nix/store/lg60p5h482a3d7fs5j8hr74qcbpsa979-nixdock-demo,"
        b"/nix/store/sd60mi5bxbfdkqclgynrx6mwrsv8pqs6-nixdock-demo-licence"
    )
    with pytest.raises(ClosureError, match="has no NAR hash"):
        fingerprint(replace(INFO, nar_hash=None))


def test_a_signature_of_nix_is_valid() -> None:
    assert KEYS.trusts(INFO, [SIGNATURE])
    assert KEYS.trusts(INFO, ["other-1:AAAA", "", SIGNATURE])


@pytest.mark.parametrize(
    "info",
    [
        replace(INFO, path=StorePath(str(INFO.path).replace("demo", "dem0"))),
        replace(INFO, nar_size=593),
        replace(INFO, nar_hash=Hash("sha256", bytes(32))),
        replace(INFO, references=INFO.references[:1]),
    ],
)
def test_everything_that_counts_is_signed(info: PathInfo) -> None:
    assert not KEYS.trusts(info, [SIGNATURE])


def test_signatures_that_are_not_valid_are_just_no_reason_to_trust() -> None:
    text = SIGNATURE.partition(":")[2]
    for signature in (
        "",
        "test-1",
        "test-1:",
        "test-1:====",
        "test-1:" + "A" * 88,
        f"other-1:{text}",
        f"test-1:{text[:-4]}AA==",
        f"test-1:B{text[1:]}",
        f"test-1:{text}{text}",
        f"test-1: {text}",
        "é:é",
    ):
        assert not KEYS.trusts(INFO, [signature]), signature
    assert not TrustedKeys.parse([]).trusts(INFO, [SIGNATURE])
    other = TrustedKeys.parse(["test-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="])
    assert not other.trusts(INFO, [SIGNATURE])


def test_the_first_of_several_keys_with_one_name_counts() -> None:
    """So does nix-store 2.8: it refuses the signature if the other key comes first."""
    other = "test-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
    assert TrustedKeys.parse([KEY, other]).trusts(INFO, [SIGNATURE])
    assert not TrustedKeys.parse([other, KEY]).trusts(INFO, [SIGNATURE])


@pytest.mark.parametrize(
    "text", ["", "x", "x:", ":AAAA", "x:AAAA", "a b:" + KEY[7:], KEY + "A", "x:é"]
)
def test_keys_that_are_not_valid(text: str) -> None:
    with pytest.raises(InputError) as caught:
        TrustedKeys.parse([text])
    assert str(caught.value) == (
        f"the trusted public key {text.partition(':')[0]!r} is not NAME:BASE64 with 32 bytes, as in"
        " cache.example.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
    )


def test_who_has_signed() -> None:
    assert signer_of(SIGNATURE) == "test-1"
    assert signer_of("\x1b[1m:x") == r"\x1b[1m"
