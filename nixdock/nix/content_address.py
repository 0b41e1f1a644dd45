"""Content addresses: store paths whose name follows from what is in them, and not who built them.

Such a path needs no signature, because nobody can make other contents for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from nixdock.nix.hashes import Hash, base32_encode
from nixdock.nix.store_path import StorePath

__all__ = ["ContentAddress"]

Method = Literal["text", "flat", "nar"]

_HASH_SIZE: Final = 20


class ContentAddress(Struct, frozen=True):
    """The `hash` of a file (of a `text`, which may have references, or `flat`) or of a NAR."""

    method: Method
    hash: Hash

    @classmethod
    def parse(cls, text: str) -> ContentAddress | None:
        """Parse a content address; return None for a method that is not known.

        Raise InputError if the hash is not valid.
        """
        kind, _, rest = text.partition(":")
        if kind == "text":
            return cls("text", Hash.parse(rest))
        if kind != "fixed" or rest.startswith("git:"):
            return None
        if rest.startswith("r:"):
            return cls("nar", Hash.parse(rest.removeprefix("r:")))
        return cls("flat", Hash.parse(rest))

    def names(self, path: StorePath, references: Iterable[StorePath]) -> bool:
        """Tell whether `path` is that of these contents with these references.

        The hash of a path that refers to itself is that of the NAR without the path's own hash, as
        ModuloHash has it.
        """
        others = sorted(references)
        refers_to_itself = path in others
        if refers_to_itself:
            others.remove(path)
        is_sha256 = self.hash.algorithm == "sha256"
        if self.method == "nar" and is_sha256:
            kind = ["source", *others, *(["self"] if refers_to_itself else [])]
            return _is_path(path, ":".join(kind), self.hash)
        if refers_to_itself:
            return False
        if self.method == "text":
            return is_sha256 and _is_path(path, ":".join(["text", *others]), self.hash)
        if others:
            return False
        mark = "r:" if self.method == "nar" else ""
        inner = f"fixed:out:{mark}{self.hash.algorithm}:{self.hash.base16}:"
        digest = hashlib.sha256(inner.encode()).digest()
        return _is_path(path, "output:out", Hash("sha256", digest))


def _is_path(path: StorePath, kind: str, contents: Hash) -> bool:
    text = f"{kind}:{contents.algorithm}:{contents.base16}:{path.store_dir}:{path.name}"
    digest = hashlib.sha256(text.encode()).digest()
    folded = bytearray(_HASH_SIZE)
    for i, byte in enumerate(digest):
        folded[i % _HASH_SIZE] ^= byte
    return path.hash_part == base32_encode(bytes(folded))
