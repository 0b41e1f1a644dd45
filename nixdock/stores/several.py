"""Several stores, asked in order: the local one first, then binary caches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from itertools import zip_longest
from queue import SimpleQueue
from types import MappingProxyType

from nixdock.errors import CacheError, StoreError
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.nar_entry import NarEntry
from nixdock.nix.store_path import StorePath
from nixdock.stores.binary_cache import BinaryCache
from nixdock.stores.cache_files import MOST_AT_ONCE
from nixdock.stores.continued_nar import ContinuedNar
from nixdock.stores.listing import gathered
from nixdock.stores.local import LocalStore
from nixdock.stores.local_database import LocalDatabase
from nixdock.stores.nar_entries import entries_of_nar
from nixdock.stores.search import Search, missing_error
from nixdock.stores.verified_nar import VerifiedNar
from nixdock.system.parallel import JobThreads, map_in_threads
from nixdock.system.read_ahead import reading_in_turn
from nixdock.system.text import path_text
from nixdock.tar.header import Entry

__all__ = ["Stores"]


class Stores:
    """The local store, whose valid paths come first, and caches, by priority and then in order."""

    def __init__(
        self,
        local: LocalStore,
        caches: Sequence[BinaryCache],
        promised: Mapping[StorePath, Hash] = MappingProxyType({}),
        listings: dict[StorePath, list[NarEntry]] | None = None,
    ) -> None:
        self.local = local
        self._given = tuple(caches)
        self._promised = promised
        self._listings = {} if listings is None else listings
        self._database = LocalDatabase(local.root)

    @cached_property
    def caches(self) -> tuple[BinaryCache, ...]:
        """The caches in the order in which they are asked.

        Those that can't be reached, or are for another store, come last: they fail again.
        """
        found = map_in_threads(_priority, self._given, len(self._given))
        both = [*zip(found, self._given, strict=True)]
        failed = [(error, cache) for error, cache in both if isinstance(error, CacheError)]
        others = [(priority, cache) for priority, cache in both if isinstance(priority, int)]
        # If none is left, an error names them all.
        for error, cache in failed if others else ():
            cache.warn(error)
        ordered = sorted(others, key=lambda each: each[0])
        return (*(cache for _, cache in ordered), *(cache for _, cache in failed))

    def closure(self, roots: Iterable[StorePath]) -> Closure:
        """Return the closure of the roots: the infos of all paths that they refer to.

        Many infos are asked for at the same time, by breadth. Raise MissingPathsError, with all
        paths that no store has, or whose signatures no key vouches for, and CacheError if a cache
        fails and no other has the path.
        """
        infos: dict[StorePath, PathInfo] = {}
        missing: list[Search] = []
        seen = set(roots)
        waiting = sorted(seen)
        futures: dict[Future[PathInfo | None], Search] = {}
        # To wait for any of many futures takes time for each of them, again and again.
        done: SimpleQueue[Future[PathInfo | None]] = SimpleQueue()

        def reached(info: PathInfo) -> None:
            infos[info.path] = info
            new = [path for path in info.references if path not in seen]
            seen.update(new)
            waiting.extend(new)

        with ExitStack() as stack:
            for cache in self._given:
                stack.enter_context(cache.remembering())
            threads: JobThreads | None = None
            while waiting or futures:
                while waiting:
                    path = waiting.pop()
                    if (info := self._database.info(path)) is not None:
                        reached(info)
                        continue
                    search = Search(self.caches, path)
                    threads = threads or stack.enter_context(JobThreads(MOST_AT_ONCE))
                    future = threads.submit(partial(_info, search))
                    futures[future] = search
                    future.add_done_callback(done.put)
                if futures:
                    future = done.get()
                    search = futures.pop(future)
                    if (info := future.result()) is not None:
                        reached(info)
                    elif search.has_failed:
                        raise search.error()
                    else:
                        missing.append(search)
        if missing:
            raise missing_error(missing)
        return Closure.of(infos.values())

    def promising(self, nar_hashes: Mapping[StorePath, Hash]) -> Stores:
        """Return the stores for paths whose NAR hashes are known: those need no signatures."""
        return Stores(self.local, self._given, nar_hashes, self._listings)

    def lacks(self, path: StorePath) -> bool:
        """Tell whether the local store does not have the path."""
        return not self._is_local(path)

    def waits_for(self, path: StorePath) -> bool:
        """Tell whether it may come from a cache that is far away."""
        return not (all(cache.files.is_near for cache in self._given) or self._is_local(path))

    def entries(self, path: StorePath, nar_hash: Hash | None = None) -> Iterator[Entry]:
        """Yield the entries of a path from the first store that has it; see `Store`."""
        if self._is_local(path):
            yield from self.local.entries(path)
            return
        with self._nar(path, nar_hash) as nar:
            listed = self._listings.get(path)
            entries = nar if listed is None else _compared(nar, listed, path)
            yield from entries_of_nar(entries, path, nar)

    def listing(self, path: StorePath, nar_hash: Hash | None = None) -> Iterator[Entry]:
        """Yield the same entries, without contents, from a cache's listing if it has one."""
        if self._is_local(path):
            yield from self.local.entries(path)
            return
        if path not in self._listings:
            self._listings[path] = self._listed(path, nar_hash)
        yield from entries_of_nar(self._listings[path], path, None)

    def directory_of(self, paths: Sequence[StorePath]) -> str | None:
        """Return the local store's directory, if that has all the paths."""
        return self.local.directory_of(paths) if all(map(self._is_local, paths)) else None

    def has_file(self, path: StorePath, name: str) -> bool:
        """Tell whether a store path has the file `name`, a whole path, not behind a symlink."""
        if self._is_local(path):
            return self.local.has_file(path, name)
        wanted = name.rstrip("/").encode()
        return any(entry.name.rstrip(b"/") == wanted for entry in self.listing(path))

    def may_have_file(self, path: StorePath, name: str) -> bool:
        """Tell whether it has the file, which may be behind symlinks that lead anywhere."""
        if self._is_local(path):
            return self.local.may_have_file(path, name)
        wanted = name.rstrip("/").encode()
        for entry in self.listing(path):
            found = entry.name.rstrip(b"/")
            if found == wanted or (entry.target and wanted.startswith(found + b"/")):
                return True
        return False

    def _is_local(self, path: StorePath) -> bool:
        """Tell whether the local store has a path, and not just a part that is being added.

        One with another NAR hash than promised is another one.
        """
        if path in self._changed or not self.local.has_file(path, path):
            return False
        return not self._database.exists or self._database.info(path) is not None

    def _search(self, path: StorePath, nar_hash: Hash | None) -> Search:
        promised = nar_hash or self._promised.get(path)
        doubt = ""
        if path in self._changed:
            doubt = f"the local store has it, but its NAR hash is {self._changed[path]}"
        return Search(self.caches, path, promised, doubt)

    @cached_property
    def _changed(self) -> Mapping[StorePath, Hash]:
        return self._database.changed(self._promised) if self._promised else {}

    @contextmanager
    def _nar(self, path: StorePath, nar_hash: Hash | None) -> Iterator[VerifiedNar]:
        with ContinuedNar(self._search(path, nar_hash)) as stream:
            yield VerifiedNar(stream, stream.address, stream.failure)

    def _listed(self, path: StorePath, nar_hash: Hash | None) -> list[NarEntry]:
        search = self._search(path, nar_hash)
        for copy in search:
            try:
                listing = copy.cache.listing(copy.found)
            except CacheError as error:
                search.fail(copy.cache, error)
                continue
            search.warn()
            if listing is not None:
                return listing
            with self._nar(path, nar_hash) as nar:
                try:
                    return gathered(nar)
                except ValueError as error:
                    message = f"the NAR of {path} can't be listed: {error}"
                    raise StoreError(message, path=path) from None
        raise search.error()


def _compared(
    entries: Iterable[NarEntry], listed: Sequence[NarEntry], path: StorePath
) -> Iterator[NarEntry]:
    """Yield the entries of a NAR; raise StoreError if its listing, which nobody signs, has others.

    Links may have been made of what that says.
    """
    for entry, other in zip_longest(entries, listed):
        if entry != other:
            name = path_text((entry or other).path)
            raise StoreError(
                f"the listing of {path} in the binary cache is not that of its NAR, which has"
                f" {'another' if entry else 'no'} /{name}",
                path=path,
            )
        yield entry


def _priority(cache: BinaryCache) -> int | CacheError:
    try:
        return cache.priority
    except CacheError as error:
        return error


def _info(search: Search) -> PathInfo | None:
    """Return the info of a path from the first cache with a trusted one, or None.

    Whoever has the info trusts its NAR hash. So the NAR is read if nothing else vouches for that.
    """
    copy = next(iter(search), None)
    if copy is None:
        return None
    search.warn()
    if not copy.cache.must_be_read(copy.found):
        return copy.found.info
    # Many are read at the same time: a thread for each is enough.
    with reading_in_turn(), ContinuedNar(Search(search.caches, search.path)) as stream:
        for _ in VerifiedNar(stream, stream.address, stream.failure):
            pass
        return stream.found.info
