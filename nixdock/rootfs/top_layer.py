"""The top layer: the trees of `contents` joined at `/`, as the spec's scripts leave them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

from nixdock.layers.tree import TreeLayer
from nixdock.rootfs.contents import add_contents, run_extra_commands, underlay_of
from nixdock.rootfs.obstacles import make_top_directory
from nixdock.rootfs.surroundings import Surroundings
from nixdock.spec.permission_rules import permission_rules
from nixdock.system.scratch import temporary_directory
from nixdock.tar.header import Attributes, MemberMeta, owner_name

if TYPE_CHECKING:
    from nixdock.layers.members import MemberLayer
    from nixdock.rootfs.base_image import BaseImage
    from nixdock.rootfs.linked_contents import Reach
    from nixdock.spec.image_spec import ImageSpec

__all__ = ["prepare_top_layer"]


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
    make_top_directory(tree)
    if spec.run_as_root.strip() or spec.fake_root_commands.strip():
        from nixdock.rootfs.scripted_layer import prepare_as_root  # noqa: PLC0415 (few images)

        return prepare_as_root(spec, base, tree, meta, stack, surroundings, reach)
    underlay = underlay_of(base, stack, verified=False)
    add_contents(spec, tree, underlay, reach)
    attributes: Mapping[bytes, Attributes] = {}
    database = surroundings.database
    if database is not None and spec.has_scripts:
        from nixdock.rootfs.added_database import add_database  # noqa: PLC0415 (few images)

        store = spec.store
        owner_of_store = Attributes(store.uid, store.gid, store.uname, store.gname)
        added = add_database(database, store.directory, tree)
        attributes = dict.fromkeys(map(os.fsencode, added), owner_of_store)
    modes: Mapping[bytes, int] = {}
    if changed := run_extra_commands(spec, tree, underlay, surroundings):
        from nixdock.rootfs.packable import modes_by_name  # noqa: PLC0415 (few images)

        modes = modes_by_name(changed, tree)
    return TreeLayer(
        tree,
        meta,
        perms=permission_rules(spec),
        directories=underlay.shared_directories(tree),
        attributes=attributes,
        modes=modes,
    )
