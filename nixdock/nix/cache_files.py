"""The text files of binary caches: nix-cache-info, and a narinfo for each store path.

Both consist of lines `Name: value`. Fields with names that nobody knows yet are ignored, as Nix
does; everything else that Nix does not write is an error. But people write nix-cache-info by hand:
there, spaces around values, comments and line ends of Windows are as good as in Nix.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from nixdock.errors import InputError, StoreError
from nixdock.nix.closure import PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import DEFAULT_STORE_DIR, StorePath
from nixdock.system.text import shown

__all__ = ["CacheInfo", "NarInfo", "parse_cache_info", "parse_narinfo"]

# Nix writes narinfos without a limit of its own, but a path with ten thousand references fits.
_MOST_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_SIGNED_NUMBER: Final = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_COLON: Final = re.compile(rb":[ \t]*")
_MOST_NUMBER: Final = 2**63 - 1
# What Nix takes a narinfo without this field to mean.
_OLD_COMPRESSION: Final = "bzip2"
_UNKNOWN: Final = "unknown-deriver"
_TRUE: Final = "1"


class CacheInfo(Struct, frozen=True):
    """What a cache says of itself; caches with a lower `priority` are asked first."""

    store_dir: str = DEFAULT_STORE_DIR
    want_mass_query: bool = False
    priority: int = 0


class NarInfo(Struct, frozen=True):
    """What a cache says of a store path: its info, and where its NAR is.

    `url` is relative to the cache, or absolute. `file_hash` and `file_size`, in bytes, are those of
    the NAR as it is sent. `signatures` are NAME:BASE64, and `ca` is the content address; none of
    them has been checked.
    """

    info: PathInfo
    url: str
    compression: str
    file_hash: Hash | None = None
    file_size: int | None = None
    signatures: tuple[str, ...] = ()
    ca: str | None = None


def parse_cache_info(data: bytes, origin: str) -> CacheInfo:
    """Parse nix-cache-info; raise StoreError, with `origin` as its place, if it is not valid."""
    lines = [_COLON.sub(b": ", line.strip(), count=1) for line in data.split(b"\n")]
    written = b"\n".join(line for line in lines if not line.startswith(b"#"))
    fields = _Fields(written, f"{origin} is not a valid nix-cache-info", origin)
    return CacheInfo(
        store_dir=fields.get("StoreDir") or DEFAULT_STORE_DIR,
        want_mass_query=fields.get("WantMassQuery") == _TRUE,
        priority=fields.number("Priority", _SIGNED_NUMBER) or 0,
    )


def parse_narinfo(data: bytes, path: StorePath, origin: str) -> NarInfo:
    """Parse the narinfo of `path`; raise StoreError, with `origin` as its place, if it is not that.

    A narinfo may say nothing of the compression, which is bzip2 then.
    """
    fields = _Fields(data, f"{origin} is not a valid narinfo", origin, path)
    store_dir = path.store_dir
    stated = fields.needed("StorePath")
    if stated != path:
        raise fields.error(f"it is that of {shown(stated)}, not of {path}")
    nar_hash = fields.hash("NarHash", needed=True)
    if nar_hash is None or nar_hash.algorithm != "sha256":
        raise fields.error("NarHash must be sha256")
    nar_size = fields.number("NarSize")
    if not nar_size:
        raise fields.error("it has no NarSize, or 0")
    if not data.endswith(b"\n"):
        # References could be missing, and nobody need have signed them. Nix refuses it, too.
        raise fields.error("its last line is not complete")
    has_deriver = fields.get("Deriver") not in {None, _UNKNOWN}
    # There may be none on the line.
    derivers = fields.paths("Deriver", store_dir) if has_deriver else ()
    return NarInfo(
        info=PathInfo(
            path=path,
            nar_size=nar_size,
            nar_hash=nar_hash,
            references=fields.paths("References", store_dir),
            deriver=str(derivers[0]) if derivers else None,
        ),
        url=fields.needed("URL"),
        compression=fields.get("Compression") or _OLD_COMPRESSION,
        file_hash=fields.hash("FileHash"),
        file_size=fields.number("FileSize"),
        signatures=tuple(fields.all("Sig")),
        ca=fields.get("CA") or None,
    )


class _Fields:
    """The fields of such a file; `problem` begins the message of each error."""

    def __init__(
        self, data: bytes, problem: str, origin: str, path: StorePath | None = None
    ) -> None:
        self.problem = problem
        self.origin = origin
        self.path = path
        if len(data) > _MOST_BYTES:
            raise self.error(f"it has more than {_MOST_BYTES} bytes")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise self.error("it is not UTF-8 text") from None
        values: dict[str, list[str]] = defaultdict(list)
        for number, line in enumerate(text.split("\n"), 1):
            if not line:
                continue
            name, colon, value = line.partition(":")
            if not colon or not _NAME.fullmatch(name) or value[:1] not in {"", " "}:
                raise self.error(f"line {number} is {shown(line)!r}, not NAME: VALUE")
            if not line.isprintable():
                raise self.error(f"line {number} has a control character: {shown(line)!r}")
            values[name].append(value[1:])
        self.values = values

    def error(self, message: str) -> StoreError:
        return StoreError(f"{self.problem}: {message}", place=self.origin, path=self.path)

    def all(self, name: str) -> Sequence[str]:
        return self.values.get(name, ())

    def get(self, name: str) -> str | None:
        found = self.all(name)
        if len(found) > 1:
            raise self.error(f"it has {name} {len(found)} times")
        return found[0] if found else None

    def needed(self, name: str) -> str:
        value = self.get(name)
        if not value:
            raise self.error(f"it has no {name}")
        return value

    def number(self, name: str, form: re.Pattern[str] = _NUMBER) -> int | None:
        value = self.get(name)
        if value is None:
            return None
        if not form.fullmatch(value) or int(value) > _MOST_NUMBER:
            raise self.error(f"{name} must be a number, not {shown(value)!r}")
        return int(value)

    def hash(self, name: str, *, needed: bool = False) -> Hash | None:
        value = self.needed(name) if needed else self.get(name)
        if not value:
            return None
        try:
            return Hash.parse(value)
        except InputError as error:
            raise self.error(f"{name}: {error}") from None

    def paths(self, name: str, store_dir: str) -> tuple[StorePath, ...]:
        """Return the store paths whose names in the store are the words of a field."""
        words = (self.get(name) or "").split()
        try:
            paths = [StorePath.parse(f"{store_dir}/{word}", store_dir) for word in words]
        except InputError as error:
            raise self.error(f"{name}: {error}") from None
        return tuple(sorted(set(paths)))
