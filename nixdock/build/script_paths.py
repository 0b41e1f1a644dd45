"""Store paths that only the scripts of an image use: fetched when a script wants them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Final, TypeVar

from nixdock.build.fetched_contents import FetchedContents, store_path_of
from nixdock.errors import MissingPathsError, ScriptError
from nixdock.nix.store_path import StorePath
from nixdock.rootfs.absent_paths import AbsentPaths
from nixdock.rootfs.top_layer import has_scripts
from nixdock.spec.image_spec import ImageSpec
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
    make: Callable[[ExitStack, AbsentPaths | None], _Made],
) -> _Made:
    """Return what `make` makes with the scripts of `spec`, until they lack no store path.

    It gets a stack for its files, which `stack` closes, and the store paths that the local store
    lacks, if there are any. Whenever a script has tried to use one of them, it is fetched from
    `source`, and `make` starts over. Raise ScriptError if no store has what a script uses, and what
    `make` raises.
    """
    absent = _absent_paths(spec, source, stack)
    if absent is None:
        return make(stack, None)
    fetched = FetchedContents(absent.root, source, spec.store.directory, whole=True)
    while True:
        with ExitStack() as attempt:
            try:
                made = make(attempt, absent)
            except ScriptError:
                if not absent.wanted:
                    raise
            else:
                if not absent.wanted:
                    stack.push(attempt.pop_all())
                    return made
        wanted = sorted(map(StorePath, absent.wanted))
        log.info(
            "the scripts use %s not in the local store, and run again with them: %s",
            counted(len(wanted), "store path"),
            listed(wanted, _MOST_NAMED),
        )
        _fetch(wanted, fetched)
        absent.note_fetched()


def _fetch(paths: list[StorePath], fetched: FetchedContents) -> None:
    for path in paths:
        try:
            fetched.add(path)
        except MissingPathsError as error:
            raise ScriptError(
                f"a script uses {path}, but {error}; copy it into one of them", path=path
            ) from None


def _absent_paths(spec: ImageSpec, source: Store, stack: ExitStack) -> AbsentPaths | None:
    """Return the store paths that scripts may use and the local store lacks, None without any.

    They are those of the image, those that the scripts name, and all that these refer to.
    """
    if not has_scripts(spec):
        return None
    known = set(map(StorePath, spec.store_paths))
    others = {*_contents(spec), *named_in_scripts(spec)} - known
    if not any(map(source.lacks, known | others)):
        return None
    for path in others | {*_programs(spec.store.directory)}:
        known.add(path)
        # A script need not use what it names.
        with suppress(MissingPathsError):
            known.update(source.closure([path]).infos)
    absent = set(filter(source.lacks, known))
    root = stack.enter_context(temporary_directory()).resolve() / "root"
    return AbsentPaths(root, absent, known - absent)


def _programs(store_dir: str) -> Iterator[StorePath]:
    """Yield the store paths of the programs that scripts find in PATH."""
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        path = store_path_of(os.path.realpath(directory), store_dir) if directory else None
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
