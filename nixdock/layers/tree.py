"""A layer of the files in a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import field

from nixdock.errors import PackError
from nixdock.layers.created import EntryLayer
from nixdock.layers.layer import OWN_FILES_HISTORY
from nixdock.nix.case_hack import name_in_nar, target_in_nar
from nixdock.oci.layer_blob import LayerHistory
from nixdock.system.text import path_text
from nixdock.tar.header import Attributes, Entry, MemberMeta
from nixdock.tar.kinds import Kind
from nixdock.tar.walk import walk

if TYPE_CHECKING:
    from nixdock.tar.permissions import PermissionRule

__all__ = ["DirectoryAttributes", "TreeLayer"]

DirectoryAttributes = Mapping[bytes, tuple[int, Attributes]]
"""The modes and attributes of directories, by the names of their tar members."""


class TreeLayer(EntryLayer, frozen=True):
    """A directory whose contents are put at `/` of the image.

    `directories` has the modes and attributes of directories in the base image. They replace the
    default mode, 0755, of the same directories here. `attributes` has those of other members, and
    `modes` the modes of members that have others on the disk, by name without slashes at the start
    and end. The first member is `/` itself, with mode 0755, unless `root_entry` is False.
    """

    directory: Path
    meta: MemberMeta
    history: LayerHistory = OWN_FILES_HISTORY
    weight: int = 0
    root_entry: bool = True
    perms: tuple[PermissionRule, ...] = ()
    directories: DirectoryAttributes = field(default_factory=dict)
    attributes: Mapping[bytes, Attributes] = field(default_factory=dict)
    modes: Mapping[bytes, int] = field(default_factory=dict)

    def entries(self) -> Iterator[Entry]:
        """Yield the members, with the base image's attributes and the permission rules applied."""
        entries = self._plain_entries()
        if self.modes:
            entries = map(self._with_mode, entries)
        if self.attributes:
            entries = map(self._with_attributes, entries)
        if self.directories:
            entries = map(self._with_base_attributes, entries)
        if not self.perms:
            return entries
        from nixdock.tar.permissions import apply_rules  # noqa: PLC0415 (few images have rules)

        return apply_rules(self.perms, entries)

    def _with_mode(self, entry: Entry) -> Entry:
        mode = self.modes.get(entry.name.strip(b"/"))
        return entry if mode is None else entry._replace(mode=mode)

    def _with_attributes(self, entry: Entry) -> Entry:
        attributes = self.attributes.get(entry.name.strip(b"/"))
        return entry if attributes is None else entry._replace(attributes=attributes)

    def _with_base_attributes(self, entry: Entry) -> Entry:
        if entry.mode != 0o755 or entry.name not in self.directories:
            return entry
        mode, attributes = self.directories[entry.name]
        return entry._replace(mode=mode, attributes=attributes)

    def _plain_entries(self) -> Iterator[Entry]:
        # `/` must not get the mode of the directory in which the tree was prepared.
        if self.root_entry:
            yield Entry(b"/", Kind.DIRECTORY, 0o755)
        rename = name_in_nar()
        try:
            tree = walk(os.fsencode(self.directory), b"/", rename)
            next(tree)
            yield from tree if rename is None else map(_with_target_in_nar, tree)
        except PackError as error:
            raise self._located(error) from None

    def _located(self, error: PackError) -> PackError:
        """Return an error that names a file by its place in the image: the directory is no user's.

        It is gone when the error is read.
        """
        directory = path_text(os.fsencode(self.directory))
        if error.path is None or not error.path.startswith(f"{directory}/"):
            return error
        place = error.path.removeprefix(directory)
        message = str(error).replace(error.path, f"{place} in the image", 1)
        return PackError(message, path=place, place=place)


def _with_target_in_nar(entry: Entry) -> Entry:
    """Let a link to a file of the store lead to the name that the file has in the image."""
    return entry._replace(target=target_in_nar(entry.target)) if entry.target else entry
