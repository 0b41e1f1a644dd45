"""Store paths that only the scripts of an image use: fetched when a script wants them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Final, TypeVar

from nixdock.build.fetched_contents import FetchedContents, store_path_of
from nixdock.errors import MissingPathsError, ScriptError
from nixdock.nix.store_path import StorePath
from nixdock.rootfs.store_view import StoreView
from nixdock.spec.image_spec import ImageSpec
from nixdock.stores.local import LocalStore
from nixdock.stores.store import Store
from nixdock.system.scratch import temporary_directory
from nixdock.system.text import counted, listed

__all__ = ["named_in_scripts", "with_wanted_paths"]

log = logging.getLogger(__name__)

_SCRIPTS: Final = ("run_as_root", "extra_commands", "fake_root_commands")
_MOST_NAMED: Final = 5

_Made = TypeVar("_Made")


def with_wanted_paths(
    spec: ImageSpec,
    source: Store,
    stack: ExitStack,
    make: Callable[[ExitStack, StoreView | None], _Made],
) -> _Made:
    """Return what `make` makes with the scripts of `spec`, until they lack no store path.

    It gets a stack for its files, which `stack` closes, and the store as the scripts are to see it,
    or None if that is this machine's. Whenever a script has tried to use a store path that the
    local store lacks, it is fetched from `source`, and `make` starts over. Raise ScriptError if no
    store has what a script uses, and what `make` raises.
    """
    view = _store_view(spec, source)
    if view is None:
        return make(stack, None)
    root = stack.enter_context(temporary_directory()).resolve() / "root"
    fetched = FetchedContents(root, source, spec.store.directory, whole=True)
    while True:
        with ExitStack() as attempt:
            try:
                made = make(attempt, view)
            except ScriptError:
                if not view.wanted:
                    raise
            else:
                if not view.wanted:
                    stack.push(attempt.pop_all())
                    return made
        wanted = sorted(map(StorePath, view.wanted))
        log.info(
            "the scripts use %s not in the local store, and run again with them: %s",
            counted(len(wanted), "store path"),
            listed(wanted, _MOST_NAMED),
        )
        for path in wanted:
            _fetch(path, fetched)
            view.fetched(path, f"{root}{path}")


def _fetch(path: StorePath, fetched: FetchedContents) -> None:
    try:
        fetched.add(path)
    except MissingPathsError as error:
        raise ScriptError(
            f"a script uses {path}, but {error}; copy it into one of them", path=path
        ) from None


def _store_view(spec: ImageSpec, source: Store) -> StoreView | None:
    """Return the store as scripts are to see it, or None if that is this machine's.

    It has the store paths of the image, those that the scripts name, the programs in PATH, and all
    that these refer to.
    """
    known = set(map(StorePath, spec.store_paths))
    others = {*_contents(spec), *named_in_scripts(spec)} - known
    root = spec.store.root
    if not root and not any(map(source.lacks, known | others)):
        return None
    programs = _with_closure(_programs(spec), LocalStore())
    known = (known | _with_closure(others, source)) - programs
    waiting = set(filter(source.lacks, known))
    # Scripts run in another directory, to which a relative root does not lead.
    absolute = os.path.abspath(root) if root else ""  # noqa: PTH100 (text, with symlinks kept)
    present = {str(path): f"{absolute}{path}" for path in known - waiting}
    return StoreView({**present, **{path: path for path in programs}}, waiting)


def _with_closure(paths: Iterable[StorePath], source: Store) -> set[StorePath]:
    """Return store paths and all that they refer to, as far as `source` knows them."""
    found = set(paths)
    for path in [*found]:
        # A script need not use what it names.
        with suppress(MissingPathsError):
            found.update(source.closure([path]).infos)
    return found


def _programs(spec: ImageSpec) -> Iterator[StorePath]:
    """Yield the store paths of the programs that scripts find in PATH."""
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        real_path = os.path.realpath(directory) if directory else ""
        path = store_path_of(real_path, spec.store.directory)
        if path is not None:
            yield path


def _contents(spec: ImageSpec) -> Iterator[StorePath]:
    paths = (store_path_of(each, spec.store.directory) for each in spec.contents)
    return (path for path in paths if path is not None)


def named_in_scripts(spec: ImageSpec) -> Iterator[StorePath]:
    """Yield the store paths that the text of the scripts has."""
    store_dir = f"{spec.store.directory}/"
    for key in _SCRIPTS:
        for part in getattr(spec, key).split(store_dir)[1:]:
            path = store_path_of(store_dir + _name_at_start(part), spec.store.directory)
            if path is not None:
                yield path


def _name_at_start(text: str) -> str:
    end = next((i for i, c in enumerate(text) if not (c.isalnum() or c in "+-._?=")), len(text))
    return text[:end]
