"""The top layer: the trees of `contents` joined at `/`, as the spec's scripts leave them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from nixdock.errors import NixdockError, SpecError
from nixdock.layers.layer import OWN_FILES_HISTORY, Layer
from nixdock.layers.members import MemberLayer
from nixdock.layers.pack import pack
from nixdock.layers.tar_file import TarLayer
from nixdock.layers.tree import DirectoryAttributes, TreeLayer
from nixdock.oci.digests import check_digest, hex_of
from nixdock.read.merging import merged_tree
from nixdock.rootfs.added_database import add_database
from nixdock.rootfs.base_image import BaseImage
from nixdock.rootfs.copied_contents import copy_into
from nixdock.rootfs.linked_contents import JoinedTree, Reach, link_into
from nixdock.rootfs.rootless.difference import Snapshot, difference
from nixdock.rootfs.rootless.extract import extract
from nixdock.rootfs.rootless.fakeroot import FakeFile, Inode
from nixdock.rootfs.rootless.run import run_as_root
from nixdock.rootfs.scripts import run_script
from nixdock.rootfs.surroundings import Surroundings
from nixdock.rootfs.underlay import Underlay
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.permission_rules import permission_rules
from nixdock.system.atomic import whole_directory
from nixdock.system.scratch import temporary_directory
from nixdock.tar.header import Attributes, Entry, MemberMeta, owner_name

__all__ = [
    "has_scripts",
    "pack_to_temporary_tar",
    "prepare_top_layer",
    "read_top_layer",
    "write_top_layer",
]

_TAR: Final = "layer.tar"
_CHECKSUM: Final = "checksum"
_DEFAULT_ATTRIBUTES: Final = Attributes(0, 0, "root", "root")


def has_scripts(spec: ImageSpec) -> bool:
    """Tell whether a script makes a part of the top layer."""
    scripts = (spec.run_as_root, spec.extra_commands, spec.fake_root_commands)
    return any(script.strip() for script in scripts)


def prepare_top_layer(
    spec: ImageSpec,
    base: BaseImage | None,
    mtime: int,
    stack: ExitStack,
    surroundings: Surroundings = Surroundings(),  # noqa: B008 (it never changes)
    reach: Reach | None = None,
) -> TreeLayer | MemberLayer:
    """Prepare the files of the top layer on top of `base` and return the layer.

    Scripts find these `surroundings`. `reach` lets the files be there that links lead to. The files
    are removed when `stack` is closed. Raise SpecError if a tree in `contents` does not exist or
    conflicts with another one, ScriptError if a script fails or can't be confined, and PackError if
    a file can't be read.
    """
    owner = spec.owner
    meta = MemberMeta(mtime, owner.uid, owner.gid, owner_name(owner.uid), owner_name(owner.gid))
    # Files that go into layers are opened by paths without symlinks.
    tree = stack.enter_context(temporary_directory()).resolve() / "root"
    tree.mkdir()
    if spec.run_as_root.strip() or spec.fake_root_commands.strip():
        return _prepare_as_root(spec, base, tree, meta, stack, surroundings, reach)
    underlay = _underlay(base, stack, verified=False)
    _add_contents(spec, tree, underlay, reach)
    attributes: Mapping[bytes, Attributes] = {}
    database = surroundings.database
    if database is not None and has_scripts(spec):
        store = spec.store
        owner_of_store = Attributes(store.uid, store.gid, store.uname, store.gname)
        added = add_database(database, store.directory, tree)
        attributes = dict.fromkeys(map(os.fsencode, added), owner_of_store)
    _run_extra_commands(spec, tree, underlay, surroundings)
    return TreeLayer(
        tree,
        meta,
        perms=permission_rules(spec),
        directories=underlay.shared_directories(tree),
        attributes=attributes,
    )


def _underlay(base: BaseImage | None, stack: ExitStack, *, verified: bool) -> Underlay:
    if base is None:
        return Underlay()
    return Underlay(stack.enter_context(merged_tree(base.layers, verified=verified)))


def _run_extra_commands(
    spec: ImageSpec, tree: Path, underlay: Underlay, surroundings: Surroundings
) -> None:
    if spec.extra_commands.strip():
        links = underlay.add_directory_links(tree)
        store_dir = spec.store.directory
        run_script(
            spec.extra_commands,
            tree,
            store_dir=store_dir,
            confinement=surroundings.confinement,
            view=surroundings.view,
        )
        underlay.remove_directory_links(tree, links)


def _prepare_as_root(
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
    chroot = bool(spec.run_as_root.strip()) or spec.enable_fakechroot
    underlay = _underlay(base, stack, verified=chroot)
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

    _add_contents(spec, tree, underlay, reach)
    if (database := surroundings.database) is not None:
        added = add_database(database, spec.store.directory, tree)
        fakes = {**fakes, **dict(_owned_by_store(spec, tree, added))}
    fakes = run(spec.run_as_root, "run_as_root", chroot=True)
    directories: DirectoryAttributes = {}
    if chroot:
        _run_extra_commands(spec, tree, Underlay(), surroundings)
        fakes = run(spec.fake_root_commands, "fake_root_commands", chroot=spec.enable_fakechroot)
    else:
        _run_extra_commands(spec, tree, underlay, surroundings)
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


def _owned_by_store(
    spec: ImageSpec, tree: Path, paths: Iterable[str]
) -> Iterator[tuple[Inode, FakeFile]]:
    """Yield fakeroot's state for files that belong to the owner of the store."""
    store = spec.store
    for path in paths:
        info = (tree / path).lstat()
        yield Inode(info.st_dev, info.st_ino), FakeFile(info.st_mode, store.uid, store.gid)


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


def _add_contents(
    spec: ImageSpec, directory: Path, underlay: Underlay, reach: Reach | None
) -> None:
    tree = JoinedTree(directory, spec.store.root, underlay, spec.store.directory, reach)
    if spec.copy_contents:
        copy_into(tree, spec.contents, keep_directory_links=spec.keep_directory_links)
    else:
        link_into(tree, spec.contents)


def pack_to_temporary_tar(layer: Layer, stack: ExitStack) -> TarLayer:
    """Pack `layer` into a file that is removed when `stack` is closed."""
    directory = stack.enter_context(temporary_directory())
    file = directory / _TAR
    return TarLayer(file, pack(layer, file).diff_id, layer.history)


def write_top_layer(layer: Layer, target: Path) -> None:
    """Pack `layer` into the directory `target`, which `read_top_layer` reads."""
    with whole_directory(target, _CHECKSUM) as directory:
        blob = pack(layer, directory / _TAR)
        (directory / _CHECKSUM).write_text(f"{hex_of(blob.diff_id)}\n")


def read_top_layer(directory: Path) -> TarLayer:
    """Return the layer that `write_top_layer` wrote; raise SpecError if there is none."""
    try:
        checksum = (directory / _CHECKSUM).read_text(encoding="ascii", errors="replace")
        digest = check_digest(f"sha256:{checksum.strip()}")
    except (OSError, NixdockError) as error:
        raise SpecError(
            f"{directory} is not a top layer with {_TAR} and {_CHECKSUM}: {error}",
            path=directory,
            key="top_layer",
        ) from None
    return TarLayer(directory / _TAR, digest, OWN_FILES_HISTORY)
