"""How layers and archives are compressed: the format and its level, as users write them.

::

    none    gzip    gzip:9    zstd    zstd:19    zstd:19,long    zstd:chunked    estargz

Layers of the last two formats can be fetched in part.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from msgspec import Struct

from nixdock.coding.codings import Coding
from nixdock.errors import InputError

__all__ = ["COMPRESSIONS", "Compression"]

_SYNTAX: Final = re.compile(r"(none|gzip|zstd:chunked|zstd|estargz)(?::([0-9]{1,2})(,long)?)?")
# The formats by their names; True stands for those that can be fetched in part.
_FORMATS: Final = {
    "none": (Coding.NONE, False),
    "gzip": (Coding.GZIP, False),
    "zstd": (Coding.ZSTD, False),
    "zstd:chunked": (Coding.ZSTD, True),
    "estargz": (Coding.GZIP, True),
}
_NAMES: Final = {form: name for name, form in _FORMATS.items()}
# libzstd's levels above 19 need as much memory to decompress as some readers refuse.
_MOST_LEVEL: Final = {Coding.NONE: 0, Coding.GZIP: 12, Coding.ZSTD: 19}
# docs/formats.md tells why.
_DEFAULT_LEVEL: Final = {Coding.NONE: 0, Coding.GZIP: 5, Coding.ZSTD: 3}


class Compression(Struct, frozen=True):
    """A compression of layers and archives that nixdock writes.

    `level` is libdeflate's or libzstd's; `long` lets zstd look for matches up to 128 MiB back.
    Layers that are `chunked` have a table of contents, by which files can be fetched one by one:
    gzip data are eStargz then, and zstd data are zstd:chunked.
    """

    coding: Coding
    level: int = 0
    long: bool = False
    chunked: bool = False

    SYNTAX: ClassVar = "none|gzip[:LEVEL]|zstd[:LEVEL[,long]]|zstd:chunked[:LEVEL]|estargz[:LEVEL]"

    NONE: ClassVar[Compression]
    GZIP: ClassVar[Compression]
    ZSTD: ClassVar[Compression]
    ZSTD_CHUNKED: ClassVar[Compression]
    ESTARGZ: ClassVar[Compression]

    @classmethod
    def of(cls, compression: Compression | str) -> Compression:
        """Return a compression that may be given as text; raise InputError if it is not valid."""
        if isinstance(compression, Compression):
            return compression
        found = _SYNTAX.fullmatch(compression)
        if found is None:
            raise InputError(f"{compression!r} is not a compression: write {cls.SYNTAX}")
        name, level, long = found.groups()
        coding, chunked = _FORMATS[name]
        most = _MOST_LEVEL[coding]
        if level is None:
            return cls(coding, _DEFAULT_LEVEL[coding], chunked=chunked)
        if not 1 <= int(level) <= most:
            reason = f"has the levels 1 to {most}" if most else "has no levels"
            raise InputError(f"{compression!r} is not a compression: {name} {reason}")
        if long and name != "zstd":
            raise InputError(f"{compression!r} is not a compression: only zstd can be long")
        return cls(coding, int(level), bool(long), chunked)

    def __str__(self) -> str:
        """Return the shortest text for it."""
        if not self.long and self.level == _DEFAULT_LEVEL[self.coding]:
            return self.name
        return f"{self.name}:{self.level}{',long' if self.long else ''}"

    @property
    def name(self) -> str:
        """The name of the format."""
        return _NAMES[self.coding, self.chunked]

    @property
    def keeps_tar(self) -> bool:
        """Whether the tar stays as it is: eStargz adds two files to it."""
        return not (self.chunked and self.coding is Coding.GZIP)

    @property
    def media_type_suffix(self) -> str:
        """The suffix of a layer's media type, such as `+gzip`."""
        return "" if self.coding is Coding.NONE else f"+{self.coding}"


Compression.NONE = Compression.of("none")
Compression.GZIP = Compression.of("gzip")
Compression.ZSTD = Compression.of("zstd")
Compression.ZSTD_CHUNKED = Compression.of("zstd:chunked")
Compression.ESTARGZ = Compression.of("estargz")

COMPRESSIONS: Final = (
    Compression.NONE,
    Compression.GZIP,
    Compression.ZSTD,
    Compression.ZSTD_CHUNKED,
    Compression.ESTARGZ,
)
"""Each format at its default level."""
