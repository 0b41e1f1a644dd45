"""Finding out what an image refers to, but lacks: the program that it runs, users, and contents."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final

from nixdock.layers.layer import ListedLayer
from nixdock.nix.store_path import StorePath
from nixdock.oci.container_config import ContainerConfig
from nixdock.spec.image_spec import ImageSpec
from nixdock.stores.store import Store
from nixdock.tar.header import Entry
from nixdock.tar.kinds import Kind

if TYPE_CHECKING:
    from nixdock.rootfs.base_image import BaseImage

__all__ = ["missing_contents", "missing_program", "missing_users"]

_USERS: Final = "/etc/passwd"
_GROUPS: Final = "/etc/group"


def missing_contents(spec: ImageSpec, base: BaseImage | None) -> Iterator[str]:
    """Yield a message for each of the contents that the image, with links to it, surely lacks.

    The store paths of the image are those of the resolved `spec` and those of `base`.
    """
    for content in () if spec.copy_contents else dict.fromkeys(spec.contents):
        if _lacks(spec, base, content):
            yield (
                f"contents: {content} is not in the image, so the links to its files lead nowhere;"
                " add it to the closure, or set copy_contents"
            )


def missing_program(
    spec: ImageSpec,
    config: ContainerConfig,
    layers: Iterable[ListedLayer],
    base: BaseImage | None,
    source: Store,
) -> str | None:
    """Return a message if the image surely lacks the program that `config` runs, or can't run it.

    The image has `layers` and those of the store paths in the resolved `spec`, read from
    `source`, on top of `base`. Names to be searched for in PATH are not checked, nor are files
    outside of the store that may be in the base image or behind a symlink, nor names with `..`.
    """
    key = "Entrypoint" if config.Entrypoint else "Cmd"
    command = getattr(config, key) or [""]
    program = command if isinstance(command, str) else command[0]
    name = _simple_name(program)
    if name is None:
        return None
    if name.startswith(f"{spec.store.directory}/"):
        problem = _missing_in_store(spec, base, name, source)
    elif base is None:
        problem = _problem_in_layers(layers, os.fsencode(name))
    else:
        return None
    return problem and f"config.{key}: the image can't run {program}: {problem}"


def missing_users(
    config: ContainerConfig, layers: Iterable[ListedLayer], base: BaseImage | None
) -> Iterator[str]:
    """Yield a message for the user and the group of `config` if no runtime can find their numbers.

    Files of users that the image has, or its base image may have, are not read.
    """
    user, _, group = (config.User or "").partition(":")
    for what, name, file in (("user", user, _USERS), ("group", group, _GROUPS)):
        is_name = name and not (name.isascii() and name.isdecimal())
        if is_name and base is None and _found_in_layers(layers, file.encode()) is None:
            yield (
                f"config.User: the image has no {file}, so no runtime finds the {what} {name}; add"
                " the file to contents, or write a number"
            )


def _simple_name(program: str) -> str | None:
    """Return the name of a program as layers have it, or None if it may be that of any file."""
    *directories, base = program.split("/")
    if not program.startswith("/") or ".." in {*directories, base}:
        return None
    parts = [part for part in directories if part not in {"", "."}]
    # What ends with a slash or a dot can only be a directory.
    return "/" + "/".join([*parts, "" if base == "." else base])


def _missing_in_store(
    spec: ImageSpec, base: BaseImage | None, program: str, source: Store
) -> str | None:
    path = _store_path(spec, program)
    base_name = os.path.basename(path)  # noqa: PTH119 (the path is text)
    if path in _own_paths(spec):
        if not source.may_have_file(StorePath(path), program):
            return f"there is no such file in {base_name}"
        found = _found_in_store(StorePath(path), program, source)
        # Rules may make it executable.
        return None if found is None else _not_a_program(*found, may_change=bool(spec.perms))
    if _lacks(spec, base, program):
        return f"{base_name} is not in the image; add it to the closure"
    return None


def _found_in_store(path: StorePath, program: str, source: Store) -> tuple[bytes, int] | None:
    """Return the kind and mode of a file, or None if it is behind symlinks that lead anywhere."""
    directory = source.directory_of([path])
    if directory is None:
        wanted = program.rstrip("/").encode()
        found = (each for each in source.listing(path) if each.name.rstrip(b"/") == wanted)
        return next(((each.kind, each.mode) for each in found), None)
    try:
        mode = os.lstat(directory + program.removeprefix(path.store_dir)).st_mode
    except OSError:
        return None
    kinds = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY}
    return kinds.get(stat.S_IFMT(mode), Kind.SYMLINK), stat.S_IMODE(mode)


def _not_a_program(kind: bytes, mode: int, *, may_change: bool = False) -> str | None:
    if kind == Kind.DIRECTORY:
        return "it is a directory; write the path of a program in it"
    if kind == Kind.FILE and not mode & 0o111 and not may_change:
        return "it is not executable"
    return None


def _lacks(spec: ImageSpec, base: BaseImage | None, file: str) -> bool:
    """Return whether the store path with `file` is neither in the image nor, perhaps, mounted."""
    own, path = _own_paths(spec), _store_path(spec, file)
    # Without store paths of its own, the image gets a store when it is run.
    if not own or path in own:
        return False
    return base is None or path not in base.store(spec.store.directory).paths


def _own_paths(spec: ImageSpec) -> frozenset[str]:
    return frozenset(chain.from_iterable(spec.store_layers or []))


def _store_path(spec: ImageSpec, file: str) -> str:
    """Return the store path with `file`, which is in the store."""
    store = f"{spec.store.directory}/"
    return store + file.removeprefix(store).partition("/")[0]


def _problem_in_layers(layers: Iterable[ListedLayer], program: bytes) -> str | None:
    entry = _found_in_layers(layers, program)
    if entry is None:
        return "there is no such file; add the package that has it to contents"
    return _not_a_program(entry.kind, entry.mode)


def _found_in_layers(layers: Iterable[ListedLayer], file: bytes) -> Entry | None:
    """Return the entry of a file, or of a symlink that it may be behind."""
    for entry in chain.from_iterable(layer.entries() for layer in layers):
        name = entry.name.rstrip(b"/")
        if name == file or (entry.kind == Kind.SYMLINK and file.startswith(name + b"/")):
            return entry
    return None
