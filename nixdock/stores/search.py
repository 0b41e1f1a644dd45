"""Looking for a store path in several caches: which have it, and why the others do not count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from nixdock.errors import CacheError, MissingPathsError
from nixdock.nix.cache_files import NarInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.stores.binary_cache import BinaryCache
from nixdock.system.text import listed

__all__ = ["Copy", "Search", "missing_error"]

_MOST_NAMED: Final = 5


class Copy(Struct, frozen=True):
    """A store path in a cache, with a narinfo that is trusted."""

    cache: BinaryCache
    found: NarInfo


class Search:
    """The copies of `path` in `caches`, each of which is asked once those before have failed.

    With `nar_hash`, copies must have that NAR hash, and need no signature. `local_doubt` is why the
    local store's copy does not count, if it has one.
    """

    def __init__(
        self,
        caches: Sequence[BinaryCache],
        path: StorePath,
        nar_hash: Hash | None = None,
        local_doubt: str = "",
    ) -> None:
        self.caches = caches
        self.path = path
        self._nar_hash = nar_hash
        self._local_doubt = local_doubt
        self._failures: dict[BinaryCache, CacheError] = {}
        self._doubts: dict[BinaryCache, str] = {}

    def __iter__(self) -> Iterator[Copy]:
        """Yield the copies; whoever goes on has not been able to read the last one.

        Its narinfo is asked for again then if it was only remembered.
        """
        for cache in self.caches:
            copy = self._copy(cache, cache.find)
            if copy is None:
                continue
            yield copy
            if cache.is_remembered(self.path):
                failure = self._failures.pop(cache, None)
                newer = self._copy(cache, cache.ask_again)
                if newer is not None and newer != copy:
                    yield newer
                elif newer is not None and failure is not None:
                    self._failures[cache] = failure
        # Somebody may have signed it meanwhile.
        for cache in [each for each in self._doubts if each.is_remembered(self.path)]:
            del self._doubts[cache]
            if (copy := self._copy(cache, cache.ask_again)) is not None:
                yield copy

    def fail(self, cache: BinaryCache, error: CacheError) -> None:
        """Note that a cache, or its copy, can't be read."""
        self._failures[cache] = error
        cache.failed(error)

    def warn(self) -> None:
        """Warn of what can't be read, since another copy takes its place."""
        for cache, error in self._failures.items():
            cache.warn(error)

    @property
    def has_failed(self) -> bool:
        """Whether a cache, or its copy, could not be read."""
        return bool(self._failures)

    @property
    def doubt(self) -> str:
        """Why the first copy that is not trusted is not, or nothing."""
        return self._local_doubt or next(iter(self._doubts.values()), "")

    def error(self) -> CacheError | MissingPathsError:
        """Return an error that says why there are no more copies."""
        if not self._failures:
            return missing_error([self])
        cache, failure = next(iter(self._failures.items()))
        if len(self.caches) == 1:
            return failure
        reasons = "; ".join(map(str, self._failures.values()))
        return CacheError(
            f"no store to be trusted has a good copy of {_doubtful(self)}; asked were"
            f" {_asked([self])}; {reasons}",
            place=str(cache),
            path=self.path,
            status=failure.status,
        )

    def _copy(self, cache: BinaryCache, ask: Callable[[StorePath], NarInfo | None]) -> Copy | None:
        try:
            found = ask(self.path)
        except CacheError as error:
            self.fail(cache, error)
            return None
        if found is None:
            return None
        if self._nar_hash is None:
            reason = cache.distrust(found)
        elif self._nar_hash != found.info.nar_hash:
            reason = f"its NAR hash is {found.info.nar_hash}, not {self._nar_hash}"
        else:
            # Whoever has vouched for the hash has vouched for all that is read.
            reason = None
        if reason is None:
            return Copy(cache, found)
        self._doubts[cache] = f"{cache} has it, but {reason}"
        return None


def missing_error(searches: Sequence[Search]) -> MissingPathsError:
    """Return an error for paths of which no cache has a copy that is trusted."""
    ordered = sorted(searches, key=lambda search: search.path)
    what = [_doubtful(search) for search in ordered]
    named = what[0]
    if len(what) > 1:
        named = f"{len(what)} paths of the closure: {listed(what, _MOST_NAMED)}"
    return MissingPathsError(
        f"no store to be trusted has {named}; asked were {_asked(ordered)}",
        paths=[search.path for search in ordered],
    )


def _doubtful(search: Search) -> str:
    return f"{search.path} ({search.doubt})" if search.doubt else search.path


def _asked(searches: Sequence[Search]) -> str:
    names = ["the local store"]
    for cache in searches[0].caches:
        is_remembered = any(cache.is_remembered(search.path) for search in searches)
        how = f" (within the last hour; remove {cache.memory} to ask again)"
        names.append(f"{cache}{how if is_remembered else ''}")
    return listed(names, _MOST_NAMED)
