"""Keys in cosign's form and signatures, made and checked without the libraries that nixdock uses.

scrypt is that of hashlib, and all else about secret boxes is written out: XSalsa20 and Poly1305.
ECDSA is that of the program openssl.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import subprocess
import textwrap
from pathlib import Path

__all__ = ["cosign_pem", "make_key_pair", "openssl", "secret_box", "verifies"]

_SIGMA = struct.unpack("<4I", b"expand 32-byte k")
_ROUNDS = (
    ((0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11)),
    ((0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14)),
)


def openssl(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run openssl to its end."""
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)


def make_key_pair(directory: Path, curve: str = "prime256v1") -> tuple[Path, Path]:
    """Make a key pair with openssl, PKCS#8 in PEM, and return the private and the public file."""
    private, public = directory / "plain.key", directory / "plain.pub"
    kind = ["-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}"]
    assert openssl("genpkey", *kind, "-out", private).returncode == 0
    assert openssl("pkey", "-in", private, "-pubout", "-out", public).returncode == 0
    return private, public


def verifies(public: Path, data: bytes, signature: bytes) -> bool:
    """Tell whether openssl accepts a signature."""
    file = public.parent / "signature.der"
    file.write_bytes(signature)
    done = openssl("dgst", "-sha256", "-verify", public, "-signature", file, stdin=data)
    assert (done.returncode == 0) is (b"Verified OK" in done.stdout)
    return done.returncode == 0


def cosign_pem(
    der: bytes, password: bytes, n: int = 65536, label: str = "SIGSTORE", **changes: object
) -> bytes:
    """Encrypt a private key as cosign does; `changes` are other values of the JSON."""
    salt, nonce = bytes(range(32)), bytes(range(100, 124))
    key = hashlib.scrypt(password, salt=salt, n=n, r=8, p=1, maxmem=1 << 28, dklen=32)
    document = {
        "kdf": {
            "name": "scrypt",
            "params": {"N": n, "r": 8, "p": 1},
            "salt": base64.b64encode(salt).decode(),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(secret_box(key, nonce, der)).decode(),
        **changes,
    }
    text = base64.b64encode(json.dumps(document).encode()).decode()
    label = f"ENCRYPTED {label} PRIVATE KEY"
    lines = [f"-----BEGIN {label}-----", *textwrap.wrap(text, 64), f"-----END {label}-----", ""]
    return "\n".join(lines).encode()


def secret_box(key: bytes, nonce: bytes, data: bytes) -> bytes:
    """Encrypt and authenticate data: the authenticator comes first."""
    words = _quarter_rounds(_state(key, nonce[:16]))
    inner = struct.pack("<8I", *(words[i] for i in (0, 5, 10, 15, 6, 7, 8, 9)))
    stream = b"".join(
        _salsa20(inner, nonce[16:] + struct.pack("<Q", i)) for i in range(len(data) // 64 + 1)
    )
    stream += _salsa20(inner, nonce[16:] + struct.pack("<Q", len(data) // 64 + 1))
    box = bytes(a ^ b for a, b in zip(data, stream[32:], strict=False))
    return _poly1305(stream[:32], box) + box


def _state(key: bytes, tail: bytes) -> list[int]:
    k, t = struct.unpack("<8I", key), struct.unpack("<4I", tail)
    return [_SIGMA[0], *k[:4], _SIGMA[1], *t, _SIGMA[2], *k[4:], _SIGMA[3]]


def _salsa20(key: bytes, tail: bytes) -> bytes:
    state = _state(key, tail)
    mixed = _quarter_rounds(state)
    return struct.pack("<16I", *((a + b) % 2**32 for a, b in zip(state, mixed, strict=True)))


def _quarter_rounds(state: list[int]) -> list[int]:
    x = [*state]
    for number in range(20):
        for a, b, c, d in _ROUNDS[number % 2]:
            for target, one, other, bits in (
                (b, a, d, 7),
                (c, b, a, 9),
                (d, c, b, 13),
                (a, d, c, 18),
            ):
                total = (x[one] + x[other]) % 2**32
                x[target] ^= (total << bits | total >> (32 - bits)) % 2**32
    return x


def _poly1305(key: bytes, data: bytes) -> bytes:
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for start in range(0, len(data), 16):
        total = (total + int.from_bytes(data[start : start + 16] + b"\1", "little")) * r
        total %= (1 << 130) - 5
    return ((total + int.from_bytes(key[16:], "little")) % (1 << 128)).to_bytes(16, "little")
