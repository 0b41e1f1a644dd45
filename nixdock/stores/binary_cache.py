"""Binary caches: stores from which NARs are fetched, as Nix does for its substituters."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Final, TypeVar

from nixdock.errors import CacheError, InputError, StoreError, ToolError
from nixdock.nix.cache_files import CacheInfo, NarInfo, parse_cache_info, parse_narinfo
from nixdock.nix.closure import PathInfo
from nixdock.nix.content_address import ContentAddress
from nixdock.nix.nar_entry import NarEntry
from nixdock.nix.nar_strings import CHUNK
from nixdock.nix.signatures import TrustedKeys, signer_of
from nixdock.nix.store_path import StorePath
from nixdock.stores.answer_cache import AnswerCache
from nixdock.stores.cache_files import CacheFiles, cache_error
from nixdock.stores.cache_url import CacheUrl
from nixdock.stores.listing import parse_listing
from nixdock.stores.verified_nar import PromisedNar, decompressed
from nixdock.system.processes import shared_numbers
from nixdock.system.read_ahead import read_ahead
from nixdock.system.text import listed

__all__ = ["BinaryCache"]

log = logging.getLogger(__name__)

_INFO: Final = "nix-cache-info"
_MOST_INFO: Final = 1 << 20
_MOST_LISTING: Final = 256 << 20
_MOST_NAMED: Final = 3

_Parsed = TypeVar("_Parsed")


class BinaryCache:
    """The cache at `url`, for the store `store_dir`; several threads may use it.

    Paths are trusted if one of `keys` has signed them, or if their names follow from their
    contents. Without keys, no signature is needed.
    """

    def __init__(
        self,
        url: CacheUrl,
        files: CacheFiles,
        keys: TrustedKeys | None,
        answers: AnswerCache,
        store_dir: str,
    ) -> None:
        self.url = url
        self.files = files
        self._keys = None if url.trusted else keys
        self._answers = answers
        self._store_dir = store_dir
        self._found: dict[StorePath, NarInfo | None] = {}
        # The files that were remembered, and not asked for in this run.
        self._remembered: set[str] = set()
        # Why nothing is asked of the cache any more.
        self._left_out: CacheError | None = None
        # Whether there was a warning: one is enough for all processes.
        self._warned = shared_numbers(1)

    def __str__(self) -> str:
        return str(self.url)

    @property
    def priority(self) -> int:
        """What decides which cache is asked first: the lowest number."""
        return self.info.priority if self.url.priority is None else self.url.priority

    @cached_property
    def info(self) -> CacheInfo:
        """What the cache says of itself; raise CacheError if it is none, or for another store.

        Nothing is asked of such a cache any more.
        """
        try:
            return self._answer(_INFO, None, self._parsed_info)
        except CacheError as error:
            self._left_out = error
            raise

    @property
    def memory(self) -> Path | None:
        """The file that has what is remembered."""
        return self._answers.file

    def remembering(self) -> AbstractContextManager[None]:
        """Return a context in which what the cache answers is written to disk at the end."""
        return self._answers.together()

    def find(self, path: StorePath) -> NarInfo | None:
        """Return the narinfo of a path, whose signatures are not checked yet, or None.

        Raise CacheError if the cache can't be read, or the narinfo is not valid.
        """
        if path not in self._found:
            parse = partial(self._parsed_narinfo, path)
            self._found[path] = self._answer(_narinfo(path), path, parse)
        return self._found[path]

    def is_remembered(self, path: StorePath) -> bool:
        """Tell whether what `find` returns was not asked for in this run."""
        return _narinfo(path) in self._remembered

    def ask_again(self, path: StorePath) -> NarInfo | None:
        """Return the narinfo as the cache has it now, as `find` does from here on."""
        name = _narinfo(path)
        self._remembered.discard(name)
        self._found[path] = self._asked(name, path, partial(self._parsed_narinfo, path))
        return self._found[path]

    def failed(self, error: CacheError) -> None:
        """Ask nothing of the cache any more if an error means that it can't be reached."""
        if error.is_unreachable or error.is_broken:
            self._left_out = error

    def warn(self, error: CacheError) -> None:
        """Log that other stores take the place of this one, as a warning for the first time."""
        level = logging.DEBUG if self._warned[0] else logging.WARNING
        self._warned[0] = 1
        log.log(level, "%s; going on with the next store", error)

    def distrust(self, found: NarInfo) -> str | None:
        """Return why a narinfo is not trusted, in words, or None if it is."""
        if self._keys is None or self.content_address(found) is not None:
            return None
        if self._keys.trusts(found.info, found.signatures):
            return None
        signers = sorted(set(map(signer_of, found.signatures)))
        if not signers:
            return "it is not signed"
        unknown = [name for name in signers if name not in self._keys.keys]
        if len(unknown) < len(signers):
            return f"its signature by {listed(sorted(set(signers) - set(unknown)), 3)} is forged"
        return f"it is signed by {listed(signers, _MOST_NAMED)}, whose public key is not trusted"

    def nar(self, found: NarInfo) -> PromisedNar:
        """Open the NAR of a path that was found; it raises CacheError if it is damaged."""
        path = found.info.path

        def failure(message: str) -> CacheError:
            return self._error(path, message)

        self._check()
        raw = self.files.open(found.url, path)
        stream = decompressed(raw, found, failure)
        if found.info.nar_size > CHUNK:
            # A thread decompresses, and this one hashes: the NAR with the layer made from it.
            stream = read_ahead(stream)
        return PromisedNar(stream, found, self._address_to_compare(found), failure)

    def listing(self, found: NarInfo) -> list[NarEntry] | None:
        """Return what is in a path as the cache says, or None if it does not.

        Nobody signs listings: where signatures are needed, only those count that surely come from
        the cache itself. Raise CacheError if the cache can't be reached. A listing that can't be
        read is none, such as one in Brotli without the library for it: the NAR has the same.
        """
        path = found.info.path
        if self._keys is not None and not self.files.is_authentic:
            return None
        try:
            data = self.files.read(f"{path.hash_part}.ls", _MOST_LISTING, path)
            return None if data is None else parse_listing(data, f"{self}: the listing of {path}")
        except (StoreError, ToolError) as error:
            log.debug("%s: the listing of %s is not used: %s", self, path, error)
        except CacheError as error:
            if error.is_unreachable or error.is_broken:
                raise
            log.debug("%s; the listing is not used", error)
        return None

    def content_address(self, found: NarInfo) -> ContentAddress | None:
        """Return the content address that the path has its name from, if it is one."""
        if found.ca is None:
            return None
        try:
            address = ContentAddress.parse(found.ca)
        except InputError:
            return None
        info = found.info
        if address is None or not address.names(info.path, info.references):
            return None
        return None if _is_nar_hash(address, info) and address.hash != info.nar_hash else address

    def _address_to_compare(self, found: NarInfo) -> ContentAddress | None:
        """Return the content address with which a NAR is compared.

        Versions of Nix differ on that of a path that refers to itself: who has signed it counts.
        """
        refers_to_itself = found.info.path in found.info.references
        if refers_to_itself and (
            self._keys is None or self._keys.trusts(found.info, found.signatures)
        ):
            return None
        return self.content_address(found)

    def must_be_read(self, found: NarInfo) -> bool:
        """Tell whether only the NAR of a path that is trusted can tell whether its hash is right.

        Nobody has signed it, and it does not follow from the content address.
        """
        address = self.content_address(found)
        if self._keys is None or address is None or _is_nar_hash(address, found.info):
            return False
        return not self._keys.trusts(found.info, found.signatures)

    def _answer(
        self, name: str, path: StorePath | None, parse: Callable[[bytes | None], _Parsed]
    ) -> _Parsed:
        """Return what a file says that is remembered, or else what the cache sends.

        `parse` raises CacheError for what is not valid. That is never remembered, because a cache
        may work again at any time.
        """
        self._check()
        known = None if self.url.directory else self._answers.find(str(self), name)
        if known is not None:
            with suppress(CacheError):
                parsed = parse(known[0])
                self._remembered.add(name)
                return parsed
        return self._asked(name, path, parse)

    def _asked(
        self, name: str, path: StorePath | None, parse: Callable[[bytes | None], _Parsed]
    ) -> _Parsed:
        self._check()
        data = self.files.read(name, _MOST_INFO, path)
        parsed = parse(data)
        if self.url.directory is None:
            self._answers.add(str(self), name, data)
        return parsed

    def _check(self) -> None:
        if self._left_out is not None:
            raise self._left_out

    def _parsed_info(self, data: bytes | None) -> CacheInfo:
        if data is None:
            raise self._error(None, f"it is not a binary cache: it has no {_INFO}")
        try:
            info = parse_cache_info(data, f"what {self} sends")
        except StoreError as error:
            raise CacheError(str(error), place=str(self)) from None
        if info.store_dir != self._store_dir:
            message = f"it is for the store {info.store_dir}, not {self._store_dir}"
            raise self._error(None, message)
        return info

    def _parsed_narinfo(self, path: StorePath, data: bytes | None) -> NarInfo | None:
        if data is None:
            return None
        try:
            return parse_narinfo(data, path, f"{self}: what it sends for {path}")
        except StoreError as error:
            raise CacheError(str(error), place=str(self), path=path) from None

    def _error(self, path: StorePath | None, message: str) -> CacheError:
        return cache_error(str(self), path, message)


def _narinfo(path: StorePath) -> str:
    return f"{path.hash_part}.narinfo"


def _is_nar_hash(address: ContentAddress, info: PathInfo) -> bool:
    """Tell whether the hash of a content address is that of the NAR, and in SHA-256."""
    is_plain = address.method == "nar" and info.path not in info.references
    return is_plain and address.hash.algorithm == "sha256"
