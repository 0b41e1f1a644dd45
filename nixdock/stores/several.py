"""Several stores, asked in order: the local one first, then binary caches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from functools import cached_property, partial
from types import MappingProxyType
from typing import Final

from nixdock.errors import MissingPathsError
from nixdock.nix.cache_files import NarInfo
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.nar_entry import NarEntry
from nixdock.nix.store_path import StorePath
from nixdock.stores.binary_cache import BinaryCache
from nixdock.stores.local import LocalStore
from nixdock.stores.local_database import LocalDatabase
from nixdock.stores.nar_entries import entries_of_nar
from nixdock.system.parallel import JobThreads, map_in_threads
from nixdock.system.text import listed
from nixdock.tar.header import Entry

__all__ = ["Stores"]

# How many narinfos are asked for at the same time.
_MOST_REQUESTS: Final = 16
_MOST_NAMED: Final = 5


class Stores:
    """The local store, whose valid paths come first, and caches, by priority and then in order."""

    def __init__(
        self,
        local: LocalStore,
        caches: Sequence[BinaryCache],
        promised: Mapping[StorePath, Hash] = MappingProxyType({}),
    ) -> None:
        self.local = local
        self._given = tuple(caches)
        self._promised = promised
        self._database = LocalDatabase(local.root)

    @cached_property
    def caches(self) -> tuple[BinaryCache, ...]:
        """The caches in the order in which they are asked.

        Raise CacheError if one of them can't be reached, or is for another store.
        """
        priorities = map_in_threads(lambda cache: cache.priority, self._given, len(self._given))
        ordered = sorted(zip(priorities, range(len(self._given)), strict=True))
        return tuple(self._given[i] for _, i in ordered)

    def closure(self, roots: Iterable[StorePath]) -> Closure:
        """Return the closure of the roots: the infos of all paths that they refer to.

        Many infos are asked for at the same time, by breadth. Raise MissingPathsError, with all
        paths that no store has, or whose signatures no key vouches for, and CacheError if a cache
        fails.
        """
        infos: dict[StorePath, PathInfo] = {}
        problems: dict[StorePath, str] = {}
        seen = set(roots)
        waiting = sorted(seen)
        futures: dict[Future[NarInfo | str], StorePath] = {}

        def reached(info: PathInfo) -> None:
            infos[info.path] = info
            new = [path for path in info.references if path not in seen]
            seen.update(new)
            waiting.extend(new)

        with ExitStack() as stack:
            for cache in self._given:
                stack.enter_context(cache.remembering())
            threads = stack.enter_context(JobThreads(_MOST_REQUESTS))
            while waiting or futures:
                while waiting:
                    path = waiting.pop()
                    if (info := self._database.info(path)) is not None:
                        reached(info)
                    else:
                        futures[threads.submit(partial(_found, self.caches, path, None))] = path
                for future in wait(futures, return_when=FIRST_COMPLETED).done if futures else ():
                    path = futures.pop(future)
                    found = future.result()
                    if isinstance(found, str):
                        problems[path] = found
                    else:
                        reached(found.info)
        if problems:
            raise self._missing(problems)
        return Closure.of(infos.values())

    def promising(self, nar_hashes: Mapping[StorePath, Hash]) -> Stores:
        """Return the stores for paths whose NAR hashes are known: those need no signatures."""
        return Stores(self.local, self._given, nar_hashes)

    def lacks(self, path: StorePath) -> bool:
        """Tell whether the local store does not have the path."""
        return not self._is_local(path)

    def entries(self, path: StorePath, nar_hash: Hash | None = None) -> Iterator[Entry]:
        """Yield the entries of a path from the first store that has it; see `Store`."""
        if self._is_local(path):
            yield from self.local.entries(path)
            return
        cache, found = self._find(path, nar_hash)
        with cache.opened(found) as nar:
            yield from entries_of_nar(nar, path, nar)

    def listing(self, path: StorePath, nar_hash: Hash | None = None) -> Iterator[Entry]:
        """Yield the same entries, without contents, from a cache's listing if it has one."""
        if self._is_local(path):
            yield from self.local.entries(path)
            return
        cache, found = self._find(path, nar_hash)
        yield from entries_of_nar(self._listed(cache, found), path, None)

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
        """Tell whether the local store has a path, and not just a part that is being added."""
        if not self.local.has_file(path, path):
            return False
        return not self._database.exists or self._database.info(path) is not None

    def _find(self, path: StorePath, nar_hash: Hash | None) -> tuple[BinaryCache, NarInfo]:
        nar_hash = nar_hash or self._promised.get(path)
        for cache in self.caches:
            found = _found([cache], path, nar_hash)
            if not isinstance(found, str):
                return cache, found
        problem = _found(self.caches, path, nar_hash)
        raise self._missing({path: str(problem)})

    def _listed(self, cache: BinaryCache, found: NarInfo) -> list[NarEntry]:
        path = found.info.path
        if path not in self._listings:
            listing = cache.listing(found)
            if listing is None:
                with cache.opened(found) as nar:
                    listing = list(nar)
            self._listings[path] = listing
        return self._listings[path]

    @cached_property
    def _listings(self) -> dict[StorePath, list[NarEntry]]:
        return {}

    def _missing(self, problems: dict[StorePath, str]) -> MissingPathsError:
        stores = listed(["the local store", *map(str, self._given)], _MOST_NAMED)
        paths = sorted(problems)
        reasons = [f"{path}{problems[path] and f' ({problems[path]})'}" for path in paths]
        if len(paths) == 1:
            return MissingPathsError(
                f"no store to be trusted has {reasons[0]}; asked were {stores}", paths=paths
            )
        return MissingPathsError(
            f"no store to be trusted has {len(paths)} paths of the closure:"
            f" {listed(reasons, _MOST_NAMED)}; asked were {stores}",
            paths=paths,
        )


def _found(caches: Sequence[BinaryCache], path: StorePath, nar_hash: Hash | None) -> NarInfo | str:
    """Return the narinfo of the first cache with a trusted one, or why there is none."""
    problem = ""
    for cache in caches:
        found = cache.find(path)
        if found is None:
            continue
        if nar_hash is None:
            reason = cache.distrust(found)
        elif nar_hash != found.info.nar_hash:
            reason = f"its NAR hash is {found.info.nar_hash}, not {nar_hash}"
        else:
            # Whoever has vouched for the hash has vouched for all that is read.
            reason = None
        if reason is None:
            return found
        problem = problem or f"{cache} has it, but {reason}"
    return problem
