"""The image's own files: the top layer, and the Nix database that its scripts find."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from nixdock.build.fetched_contents import fetched_contents
from nixdock.layers.layer import ListedLayer
from nixdock.rootfs.confinement import Confinement
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.times import source_date_epoch
from nixdock.stores.store import Store

if TYPE_CHECKING:
    from nixdock.build.database_layer import Database
    from nixdock.rootfs.base_image import BaseImage
    from nixdock.rootfs.store_view import StoreView

__all__ = ["OwnFiles", "creation_time", "own_files", "top_layer", "written_database"]


class OwnFiles(Struct, frozen=True):
    """The layer `top`, made as the resolved `spec` says, and the `database` of that spec."""

    spec: ImageSpec
    top: ListedLayer
    database: Database | None


def own_files(
    spec: ImageSpec,
    base: BaseImage | None,
    source: Store,
    stack: ExitStack,
    confinement: Confinement,
) -> OwnFiles:
    """Make the files; closing the stack removes them. Raise what `top_layer` raises."""
    database = written_database(spec, base, source, stack) if spec.nix_db else None
    return OwnFiles(spec, top_layer(spec, base, source, database, stack, confinement), database)


def written_database(
    spec: ImageSpec, base: BaseImage | None, source: Store, stack: ExitStack
) -> Database:
    """Write the database of `spec`, as `write_database` does."""
    from nixdock.build.database_layer import write_database  # noqa: PLC0415 (few images have one)

    return write_database(spec, base, source, creation_time(spec), stack)


def top_layer(
    spec: ImageSpec,
    base: BaseImage | None,
    source: Store,
    database: Database | None,
    stack: ExitStack,
    confinement: Confinement,
) -> ListedLayer:
    """Return the top layer, which may be in a file; scripts find `database`.

    Closing the stack removes its files. Raise MissingPathsError if no store has one of the
    contents, and what `prepare_top_layer` and `read_top_layer` raise.
    """
    if spec.top_layer is not None:
        from nixdock.rootfs.packed_layer import read_top_layer  # noqa: PLC0415 (either this)

        return read_top_layer(Path(spec.top_layer))
    from nixdock.rootfs.surroundings import Surroundings  # noqa: PLC0415 (or that)
    from nixdock.rootfs.top_layer import prepare_top_layer  # noqa: PLC0415 (the same)

    tree = None if database is None else database.tree
    linked, fetched = fetched_contents(spec, source, stack)
    reach = None if fetched is None else fetched.reach
    mtime = creation_time(spec)

    def make(stack: ExitStack, view: StoreView | None) -> ListedLayer:
        surroundings = Surroundings(confinement, tree, view)
        return prepare_top_layer(linked, base, mtime, stack, surroundings, reach)

    if not spec.has_scripts:
        return make(stack, None)
    from nixdock.build.script_paths import with_wanted_paths  # noqa: PLC0415 (few images)

    return with_wanted_paths(spec, source, stack, make)


def creation_time(spec: ImageSpec) -> int:
    """Return the time, in seconds, of the files that the build itself creates."""
    return source_date_epoch() if spec.source_date_epoch is None else spec.source_date_epoch
