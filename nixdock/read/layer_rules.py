"""The rules for a layer's tar with which every runtime unpacks it to the same files.

What runtimes refuse, or could be deceived by, is a message. What they take, though not all of them
or not in the same way, is a warning, which names them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from nixdock.coding.decompression import MOST_EXPANDED
from nixdock.errors import ImageError
from nixdock.system.text import shown
from nixdock.tar.capabilities import CAPABILITY_XATTR, is_capability_xattr
from nixdock.tar.devices import device_fault
from nixdock.tar.kinds import KIND_NAMES, Kind
from nixdock.tar.member import Member
from nixdock.tar.names import normalised
from nixdock.tar.whiteouts import AUFS, OPAQUE, WHITEOUT, is_aufs, is_hidden

__all__ = ["OVERLAY", "LayerRules"]

OVERLAY: Final = (b"trusted.overlay.", b"user.overlay.")
"""The prefixes of the extended attributes in which overlayfs keeps its own notes."""

_MOST_PROBLEMS: Final = 20

# The length in bytes of the longest target that Linux accepts.
_MOST_TARGET: Final = 4095
# That of the longest name of an extended attribute.
_MOST_XATTR_NAME: Final = 255
# The kinds of files that may have extended attributes of users; a hard link is one of a file.
_WITH_USER_XATTRS: Final = frozenset({Kind.FILE, Kind.DIRECTORY, Kind.HARD_LINK})
# What is no name of an extended attribute, with or without the start of one.
_NAMELESS: Final = frozenset({b"", b"security.", b"system.", b"trusted.", b"user."})
# The largest 32-bit number, -1 as an ID, means "no owner".
_MOST_ID: Final = (1 << 32) - 2
# The total size in bytes of the names of directories; one member's name can imply many of them.
_MOST_DIRECTORY_BYTES: Final = 256 << 20


class LayerRules(Struct):
    """Check the members of a layer one by one, each against the members before it.

    `messages` are the first problems; `unlisted` is the number of the others. `warnings` has the
    first one of each sort. `needs_lower` is True if a member's meaning depends on lower layers.
    """

    messages: list[str] = field(default_factory=list)
    unlisted: int = 0
    warnings: dict[str, str] = field(default_factory=dict)
    needs_lower: bool = False
    _kinds: dict[bytes, bytes] = field(default_factory=dict)
    # Directories that are members, or are implied by the name of a member below them.
    _directories: set[bytes] = field(default_factory=lambda: {b""})
    _directory_bytes: int = 0
    # The size in bytes of all sparse files.
    _sparse: int = 0
    # What whiteouts so far delete from lower layers.
    _deleted: set[bytes] = field(default_factory=set)

    def complain(self, message: str) -> None:
        """Add a problem; only count it if there are many already."""
        if len(self.messages) < _MOST_PROBLEMS:
            self.messages.append(message)
        else:
            self.unlisted += 1

    def add(self, member: Member) -> bytes:
        """Check the next member, and return its normalised name, empty if it is not valid.

        Raise ImageError if the names take too much memory.
        """
        try:
            name = normalised(member.name)
        except ImageError as error:
            self.complain(f"a member has an invalid name: {error}")
            return b""
        kind = member.kind
        earlier = self._kinds.get(name)
        if earlier is None:
            pass
        elif earlier == Kind.DIRECTORY == kind:
            self._warn(
                "twice",
                f"the directory {shown(name)!r} appears twice: containerd takes the last one, but"
                " Docker and Podman refuse it",
            )
        else:
            self.complain(f"{shown(name)!r} appears twice, which Docker and Podman refuse")
        parent, _, base = name.rpartition(b"/")
        if parent not in self._directories:
            self._check_parents(name, parent)
        if kind == Kind.DIRECTORY:
            self._add_directory(name)
        elif name in self._directories:
            what = repr(shown(name)) if name else "the root"
            self.complain(
                f"{what} is a {KIND_NAMES[kind]}, but earlier members need a directory there"
            )
        if base.startswith(WHITEOUT):
            self._check_whiteout(member, name, parent, base)
        elif is_hidden(name) and not is_aufs(name):
            self.complain(f"{shown(name)!r} is below a whiteout")
        if kind == Kind.HARD_LINK:
            self._check_hard_link(member, name)
        elif kind == Kind.SYMLINK:
            self._check_target(member, name)
        self._check_attributes(member, name)
        if earlier is None:
            self._kinds[name] = kind
        return name

    def _warn(self, sort: str, message: str) -> None:
        self.warnings.setdefault(sort, message)

    def _add_directory(self, name: bytes) -> None:
        self._directories.add(name)
        if name in self._deleted:
            self._warn(
                "remade",
                f"the layer deletes {shown(name)!r} and has a directory of that name: Docker,"
                " Podman and containerd keep what lower layers have in it, umoci does not",
            )

    def _check_parents(self, name: bytes, parent: bytes) -> None:
        while parent not in self._directories:
            kind = self._kinds.get(parent)
            if kind == Kind.SYMLINK:
                self.needs_lower = True
                self._warn(
                    "below",
                    f"{shown(name)!r} is below {shown(parent)!r}, a symbolic link: Docker and"
                    " Podman refuse it unless the link leads to a directory of the same layer",
                )
                return
            if kind is not None:
                self.complain(f"{shown(name)!r} is below {shown(parent)!r}, a {KIND_NAMES[kind]}")
                return
            # Lower layers may have something else there.
            self.needs_lower = True
            if parent in self._deleted:
                self._warn_of_deleted(parent)
            self._directories.add(parent)
            self._directory_bytes += len(parent)
            if self._directory_bytes > _MOST_DIRECTORY_BYTES:
                raise ImageError(
                    "the names of the layer's directories have more than"
                    f" {_MOST_DIRECTORY_BYTES} bytes in total"
                )
            parent = posixpath.dirname(parent)

    def _check_sparse(self, member: Member, name: bytes) -> None:
        before, self._sparse = self._sparse, self._sparse + member.size
        if before <= MOST_EXPANDED < self._sparse:
            self.complain(
                f"the sparse files up to {shown(name)!r} have more than {MOST_EXPANDED} bytes"
            )

    def _check_target(self, member: Member, name: bytes) -> None:
        if not member.target:
            self.complain(f"the symbolic link {shown(name)!r} has no target")
        elif len(member.target) > _MOST_TARGET:
            self.complain(f"the symbolic link {shown(name)!r} has a target that is too long")

    def _check_attributes(self, member: Member, name: bytes) -> None:
        """Check what not every file system can store: sizes, owners, devices, attributes."""
        if member.extents is not None:
            self._check_sparse(member, name)
        if not (0 <= member.uid <= _MOST_ID and 0 <= member.gid <= _MOST_ID):
            owner = f"{member.uid}:{member.gid}"
            self.complain(f"{shown(name)!r} has the owner {owner}, which is out of range")
        if fault := device_fault(member.kind, member.device):
            self.complain(f"{shown(name)!r} {fault}")
        if member.pax and (xattrs := member.xattrs):
            self._check_xattrs(member, name, xattrs)

    def _check_xattrs(self, member: Member, name: bytes, xattrs: Mapping[bytes, bytes]) -> None:
        capabilities = xattrs.get(CAPABILITY_XATTR)
        if capabilities is not None and not is_capability_xattr(capabilities):
            self.complain(
                f"{shown(name)!r} has file capabilities in a form that Linux does not store"
            )
        if any(len(key) > _MOST_XATTR_NAME for key in xattrs):
            self.complain(
                f"{shown(name)!r} has an extended attribute whose name is longer than"
                f" {_MOST_XATTR_NAME} bytes"
            )
        if not _NAMELESS.isdisjoint(xattrs):
            self.complain(f"{shown(name)!r} has an extended attribute without a name")
        if member.kind not in _WITH_USER_XATTRS and any(key.startswith(b"user.") for key in xattrs):
            self._warn(
                "user",
                f"the {KIND_NAMES[member.kind]} {shown(name)!r} has extended attributes of users,"
                " which Linux does not allow: Docker leaves them out, but Podman refuses the layer",
            )
        if any(key.startswith(OVERLAY) for key in xattrs):
            self._warn(
                "overlay",
                f"{shown(name)!r} has extended attributes that overlayfs reserves: Docker may store"
                " them, Podman and containerd hide them, and umoci leaves them out",
            )

    def _check_hard_link(self, member: Member, name: bytes) -> None:
        try:
            target = normalised(member.target)
        except ImageError as error:
            self.complain(f"the hard link {shown(name)!r} has an invalid target: {error}")
            return
        kind = self._kinds.get(target)
        between = _is_whiteout(target) == _is_whiteout(name)
        if kind is None and target != name and not is_hidden(target) and not is_hidden(name):
            self.needs_lower = True
            self._warn(
                "lower",
                f"the hard link {shown(name)!r} is to {shown(target)!r}, which is not an earlier"
                " file in the same layer: umoci finds it in a lower layer, but the overlay storage"
                " of Docker, Podman and containerd does not",
            )
        elif kind in {None, Kind.DIRECTORY} or target == name or not between:
            self.complain(
                f"the hard link {shown(name)!r} is to {shown(target)!r}, which is not an earlier"
                " file in the same layer"
            )
        elif _is_whiteout(name):
            self._warn("whiteout", f"the whiteout {shown(name)!r} is a hard link to another one")

    def _warn_of_deleted(self, name: bytes) -> None:
        self._warn(
            "deleted",
            f"the layer has {shown(name)!r} and deletes it, in an order at which Docker, Podman and"
            " containerd fail; umoci does not",
        )

    def _check_whiteout(self, member: Member, name: bytes, parent: bytes, base: bytes) -> None:
        hidden = base.removeprefix(WHITEOUT)
        if hidden in {b"", b".", b".."}:
            self.complain(f"{shown(name)!r} is a whiteout of nothing")
        elif base.startswith(AUFS) and base != OPAQUE:
            return
        elif member.kind not in {Kind.FILE, Kind.HARD_LINK} or member.size:
            self.complain(f"{shown(name)!r} is a whiteout, but not an empty file")
        elif base != OPAQUE:
            target = parent + b"/" + hidden if parent else hidden
            self._deleted.add(target)
            if target in self._kinds or target in self._directories:
                self._warn_of_deleted(target)
        elif not parent:
            self._warn(
                "root",
                "the whole root directory is opaque: Docker, Podman and containerd keep what lower"
                " layers have, umoci does not",
            )


def _is_whiteout(name: bytes) -> bool:
    return is_hidden(name) and not is_aufs(name)
