"""The steps that make a top layer: its `contents` are joined, and `extra_commands` runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from nixdock.rootfs.surroundings import Surroundings
from nixdock.rootfs.underlay import Underlay

if TYPE_CHECKING:
    from nixdock.rootfs.base_image import BaseImage
    from nixdock.rootfs.linked_contents import Reach
    from nixdock.rootfs.rootless.fakeroot import Inode
    from nixdock.spec.image_spec import ImageSpec

__all__ = ["add_contents", "run_extra_commands", "underlay_of"]


def underlay_of(base: BaseImage | None, stack: ExitStack, *, verified: bool) -> Underlay:
    """Return what lies below the top layer: the files of the base image, if there is one.

    With `verified`, its layers are verified while they are read; closing the stack ends reading.
    """
    if base is None:
        return Underlay()
    from nixdock.read.merging import merged_tree  # noqa: PLC0415 (few images have a base)

    return Underlay(stack.enter_context(merged_tree(base.layers, verified=verified)))


def add_contents(
    spec: ImageSpec, directory: Path, underlay: Underlay, reach: Reach | None
) -> Collection[str]:
    """Link the contents into `directory`, or copy them if the spec says so.

    Return the paths of what is new there, relative to it.
    """
    if not spec.contents:
        return ()
    from nixdock.rootfs.linked_contents import JoinedTree, link_into  # noqa: PLC0415

    tree = JoinedTree(directory, spec.store.root, underlay, spec.store.directory, reach)
    if spec.copy_contents:
        from nixdock.rootfs.copied_contents import copy_into  # noqa: PLC0415 (few images need it)

        copy_into(tree, spec.contents, keep_directory_links=spec.keep_directory_links)
    else:
        link_into(tree, spec.contents)
    return tree.origins.keys()


def run_extra_commands(
    spec: ImageSpec, tree: Path, underlay: Underlay, surroundings: Surroundings
) -> Mapping[Inode, int]:
    """Run extra_commands, if there are any, in `tree` on top of what is below it.

    Return what `make_packable` does: the modes of files that could not be packed with them.
    """
    modes: Mapping[Inode, int] = {}
    if spec.extra_commands.strip():
        from nixdock.rootfs.packable import make_packable  # noqa: PLC0415 (the same)
        from nixdock.rootfs.scripts import run_script  # noqa: PLC0415 (few images have scripts)

        links = underlay.add_directory_links(tree)
        store_dir = spec.store.directory
        run_script(
            spec.extra_commands,
            tree,
            store_dir=store_dir,
            confinement=surroundings.confinement,
            view=surroundings.view,
        )
        modes = make_packable(tree)
        underlay.remove_directory_links(tree, links)
    return modes
