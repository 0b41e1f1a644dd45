"""The top layer of an image with scripts that run as root: run_as_root and fake_root_commands."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nixdock.layers.members import MemberLayer
from nixdock.layers.tree import DirectoryAttributes
from nixdock.rootfs.added_database import add_database
from nixdock.rootfs.contents import add_contents, run_extra_commands, underlay_of
from nixdock.rootfs.linked_contents import Reach
from nixdock.rootfs.packable import as_fakes
from nixdock.rootfs.rootless.difference import Snapshot, difference
from nixdock.rootfs.rootless.extract import extract
from nixdock.rootfs.rootless.fakeroot import FakeFile, Inode, state_of_tree
from nixdock.rootfs.rootless.run import run_as_root
from nixdock.rootfs.surroundings import Surroundings
from nixdock.rootfs.underlay import Underlay
from nixdock.spec.image_spec import OwnerSpec
from nixdock.spec.permission_rules import permission_rules
from nixdock.tar.header import Attributes, Entry, MemberMeta

if TYPE_CHECKING:
    from nixdock.rootfs.base_image import BaseImage
    from nixdock.spec.image_spec import ImageSpec

__all__ = ["prepare_as_root"]

log = logging.getLogger(__name__)

_DEFAULT_ATTRIBUTES: Final = Attributes(0, 0, "root", "root")


def prepare_as_root(
    spec: ImageSpec,
    base: BaseImage | None,
    tree: Path,
    meta: MemberMeta,
    stack: ExitStack,
    surroundings: Surroundings,
    reach: Reach | None,
) -> MemberLayer:
    """Run run_as_root and fake_root_commands as well, and return the layer of the resulting files.

    If one of them runs with the tree as its `/`, the tree starts as a copy of the base image, and
    the layer is the difference to that.
    """
    if spec.owner != OwnerSpec():
        log.warning(
            "owner is ignored, because scripts run as if by root, who owns the files; change owners"
            " there, or with perms"
        )
    chroot = bool(spec.run_as_root.strip()) or spec.enable_fakechroot
    underlay = underlay_of(base, stack, verified=chroot)
    fakes: Mapping[Inode, FakeFile] = {}
    before = Snapshot()
    if chroot and base is not None:
        fakes = extract(underlay.base_tree, tree)
        before = Snapshot.of(tree, fakes)

    def run(script: str, name: str, *, chroot: bool) -> Mapping[Inode, FakeFile]:
        if not script.strip():
            return fakes
        store_dir = spec.store.directory
        return run_as_root(
            script,
            tree,
            name=name,
            chroot=chroot,
            store_dir=store_dir,
            fakes=fakes,
            confinement=surroundings.confinement,
            view=surroundings.view,
        )

    added = add_contents(spec, tree, underlay, reach)
    of_store: list[str] = []
    if (database := surroundings.database) is not None:
        of_store = add_database(database, spec.store.directory, tree)
    directories: DirectoryAttributes = {}
    if chroot:
        fakes = _without(fakes, tree, added)
        fakes = {**fakes, **dict(_owned_by_store(spec, tree, of_store, {}))}
        if spec.run_as_root.strip():
            _add_temporary_directory(tree)
        fakes = run(spec.run_as_root, "run_as_root", chroot=True)
        if fakes:
            # Only under fakeroot is it known which files a script removes: others get their inode
            # numbers, and would get their owners and modes.
            fakes = run(spec.extra_commands, "extra_commands", chroot=False)
        else:
            fakes = as_fakes(run_extra_commands(spec, tree, Underlay(), surroundings))
        fakes = run(spec.fake_root_commands, "fake_root_commands", chroot=spec.enable_fakechroot)
    else:
        modes = run_extra_commands(spec, tree, underlay, surroundings)
        fakes = {**as_fakes(modes), **dict(_owned_by_store(spec, tree, of_store, modes))}
        links = underlay.add_directory_links(tree)
        fakes = run(spec.fake_root_commands, "fake_root_commands", chroot=False)
        underlay.remove_directory_links(tree, links)
        directories = underlay.shared_directories(tree)
    empty_file = tree.parent / "empty"
    empty_file.touch()
    members = difference(before, Snapshot.of(tree, fakes), empty_file)
    return MemberLayer(
        tuple(_with_base_attributes(entry, directories) for entry in members),
        meta,
        perms=permission_rules(spec),
    )


def _add_temporary_directory(tree: Path) -> None:
    """Make /tmp, which stays in the image, unless there is one: dockerTools does so for the script.

    Unlike there, every user of the image may write to it.
    """
    directory = tree / "tmp"
    if not os.path.lexists(directory):
        directory.mkdir()
        directory.chmod(0o1777)


def _without(
    fakes: Mapping[Inode, FakeFile], tree: Path, added: Iterable[str]
) -> Mapping[Inode, FakeFile]:
    """Return fakeroot's state without that of files which have been replaced.

    New files, whose paths are `added`, may have their inode numbers, and others may get them.
    """
    if not fakes:
        return fakes
    infos = [(tree / path).lstat() for path in added]
    new = {Inode(info.st_dev, info.st_ino) for info in infos}
    return state_of_tree({inode: fake for inode, fake in fakes.items() if inode not in new}, tree)


def _owned_by_store(
    spec: ImageSpec, tree: Path, paths: Iterable[str], modes: Mapping[Inode, int]
) -> Iterator[tuple[Inode, FakeFile]]:
    """Yield fakeroot's state for files that belong to the owner of the store, if they are there.

    `modes` has those that files had before they were made packable.
    """
    store = spec.store
    for path in paths:
        try:
            info = (tree / path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        inode = Inode(info.st_dev, info.st_ino)
        yield inode, FakeFile(modes.get(inode, info.st_mode), store.uid, store.gid)


def _with_base_attributes(entry: Entry, directories: DirectoryAttributes) -> Entry:
    """Give a directory the base image's owner and mode, unless a script has changed either."""
    if (
        entry.name not in directories
        or entry.mode != 0o755
        or entry.attributes != _DEFAULT_ATTRIBUTES
    ):
        return entry
    mode, attributes = directories[entry.name]
    return entry._replace(mode=mode, attributes=attributes)
