"""A layer whose members are all in memory before it is packed."""

from __future__ import annotations

from collections.abc import Iterable

from nixdock.layers.created import EntryLayer
from nixdock.layers.layer import OWN_FILES_HISTORY
from nixdock.oci.layer_blob import LayerHistory
from nixdock.tar.header import Entry, MemberMeta
from nixdock.tar.permissions import PermissionRule, apply_rules

__all__ = ["MemberLayer"]


class MemberLayer(EntryLayer, frozen=True):
    """A layer with the given members."""

    members: tuple[Entry, ...]
    meta: MemberMeta
    history: LayerHistory = OWN_FILES_HISTORY
    perms: tuple[PermissionRule, ...] = ()

    @property
    def weight(self) -> int:
        """The sum of the files' sizes in bytes."""
        return sum(entry.size for entry in self.members)

    def entries(self) -> Iterable[Entry]:
        """Return the members with the permission rules applied."""
        return apply_rules(self.perms, self.members)
