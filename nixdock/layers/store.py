"""Layers of store paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from msgspec import field

from nixdock.layers.created import EntryLayer
from nixdock.nix.case_hack import name_in_nar
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import DEFAULT_STORE_DIR, StorePath
from nixdock.oci.descriptor import canonical_json
from nixdock.oci.digests import sha256_digest
from nixdock.oci.layer_blob import LayerHistory
from nixdock.stores.local import LocalStore
from nixdock.stores.store import Store
from nixdock.system.text import counted, listed_within
from nixdock.tar.header import Entry, Headers, MemberMeta
from nixdock.tar.kinds import Kind
from nixdock.tar.trees import tree_pieces
from nixdock.tar.write import member_pieces

if TYPE_CHECKING:
    from nixdock.tar.permissions import PermissionRule

__all__ = ["StoreLayer"]

_RECIPE_VERSION: Final = 1
_LONGEST_COMMENT: Final = 79

_EntriesOf = Callable[[StorePath, Hash | None], Iterator[Entry]]


class StoreLayer(EntryLayer, frozen=True):
    """Store paths, packed in the given order after the entries of the store directory.

    They are read from `store`. `nar_hashes` are in the order of `paths`; `key` is computed from
    them.
    """

    paths: tuple[StorePath, ...]
    meta: MemberMeta = field(default_factory=MemberMeta)
    store_dir: str = DEFAULT_STORE_DIR
    store: Store = field(default_factory=LocalStore)
    nar_hashes: tuple[Hash | None, ...] = ()
    nar_size: int = 0
    perms: tuple[PermissionRule, ...] = ()

    @property
    def weight(self) -> int:
        """The sum of the NAR sizes, which is close to that of the files."""
        return self.nar_size

    @property
    def is_remote(self) -> bool:
        """Whether a store path comes from a binary cache that is far away."""
        return any(map(self.store.waits_for, self.paths))

    @property
    def key(self) -> str | None:
        """A digest of everything that determines the tar, or None if a NAR hash is missing.

        Two layers with the same key have the same bytes, on whichever machine they are packed.
        """
        hashes = [str(nar_hash) for nar_hash in self.nar_hashes if nar_hash is not None]
        if len(hashes) != len(self.paths):
            return None
        recipe: dict[str, object] = {
            "version": _RECIPE_VERSION,
            "store_dir": self.store_dir,
            "paths": [list(pair) for pair in zip(self.paths, hashes, strict=True)],
            "mtime": self.meta.mtime,
            "owner": [self.meta.uid, self.meta.gid, self.meta.uname, self.meta.gname],
        }
        if self.perms:
            recipe["perms"] = [rule.document() for rule in self.perms]
        return sha256_digest(canonical_json(recipe))

    @property
    def history(self) -> LayerHistory:
        """The layer's history entry, with a comment that names the first store paths."""
        return LayerHistory(f"nixdock: {self.title}", self.comment())

    @property
    def title(self) -> str:
        """The name of the first store path, and the number of the others."""
        more = len(self.paths) - 1
        return self.paths[0].name + (f" (+{more})" if more else "")

    def comment(self, before: str = "") -> str:
        """Return `before`, the number of store paths and their first names, in one short line.

        Programs that show the history of an image have little room.
        """
        start = f"{before}{counted(len(self.paths), 'store path')}: "
        names = [path.name for path in self.paths]
        return start + listed_within(names, _LONGEST_COMMENT - len(start))

    def names(self) -> Iterator[bytes]:
        """Yield the names of the store paths, which need not exist here."""
        return map(os.fsencode, self.paths)

    def entries(self) -> Iterator[Entry]:
        """Yield the members: the store directory and its parents, then each store path's tree."""
        return self._with_rules(self._plain_entries(self.store.entries))

    def listing(self) -> Iterator[Entry]:
        """Yield the same members, whose contents can perhaps not be read."""
        return self._with_rules(self._plain_entries(self.store.listing))

    def member_pieces(self, listed: Iterable[Entry] | None = None) -> Iterator[memoryview]:
        """Yield the bytes of the members, by the native packer if no header is special."""
        directory = None if self.perms else self.store.directory_of(self.paths)
        if directory is None:
            yield from super().member_pieces(listed)
            return
        headers = Headers(self.meta)
        yield from member_pieces(self._parents(), headers)
        prefix = os.fsencode(f"{self.store_dir.rstrip('/')}/")
        names = [os.fsencode(path)[len(prefix) :] for path in self.paths]
        yield from tree_pieces(os.fsencode(directory), prefix, names, headers, name_in_nar())

    def _with_rules(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        if not self.perms:
            return entries
        from nixdock.tar.permissions import apply_rules  # noqa: PLC0415 (few images have rules)

        return apply_rules(self.perms, entries)

    def _plain_entries(self, entries_of: _EntriesOf) -> Iterator[Entry]:
        yield from self._parents()
        hashes = self.nar_hashes or (None,) * len(self.paths)
        for path, nar_hash in zip(self.paths, hashes, strict=True):
            yield from entries_of(path, nar_hash)

    def _parents(self) -> Iterator[Entry]:
        parts = self.store_dir.strip("/").split("/")
        for depth in range(len(parts)):
            name = "/" + "/".join(parts[: depth + 1]) + "/"
            yield Entry(os.fsencode(name), Kind.DIRECTORY, 0o755)
