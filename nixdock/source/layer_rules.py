"""What a layer's tar must keep to so that every runtime unpacks it to the same files."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import Final

from nixdock.errors import ImageError
from nixdock.source.names import normalised
from nixdock.source.problem import shown
from nixdock.source.tar_reader import Member, MemberKind

__all__ = ["AUFS", "OPAQUE", "WHITEOUT", "LayerRules"]

WHITEOUT: Final = b".wh."
OPAQUE: Final = b".wh..wh..opq"
# AUFS's own files, which everyone ignores, start so.
AUFS: Final = b".wh..wh."
_MOST_PROBLEMS: Final = 20


@dataclass(slots=True)
class LayerRules:
    """What can be wrong with one member of a layer in the light of those before it."""

    messages: list[str] = field(default_factory=list)
    unsaid: int = 0
    _kinds: dict[bytes, MemberKind] = field(default_factory=dict)
    # Directories that have an entry, or are implied by what is below them.
    _directories: set[bytes] = field(default_factory=lambda: {b""})

    def complain(self, message: str) -> None:
        """Take note of a problem, unless there are very many already."""
        if len(self.messages) < _MOST_PROBLEMS:
            self.messages.append(message)
        else:
            self.unsaid += 1

    def add(self, member: Member) -> None:
        """Check the next member."""
        try:
            name = normalised(member.name)
        except ImageError as error:
            self.complain(f"a member's name is wrong: {error}")
            return
        if name in self._kinds:
            self.complain(f"{shown(name)!r} stands twice in it, which Docker and Podman refuse")
        parent, _, base = name.rpartition(b"/")
        if parent not in self._directories:
            self._check_parents(name, parent)
        if member.kind is MemberKind.DIRECTORY:
            self._directories.add(name)
        elif name in self._directories:
            what = f"{shown(name)!r} is a {member.kind.value}" if name else "the root is not one"
            self.complain(f"{what}, but members before it need a directory there")
        if base.startswith(WHITEOUT):
            self._check_whiteout(member, name, base)
        if member.kind is MemberKind.HARD_LINK:
            self._check_hard_link(member, name)
        elif member.kind is MemberKind.SYMLINK and not member.target:
            self.complain(f"the symbolic link {shown(name)!r} has no target")
        self._kinds.setdefault(name, member.kind)

    def _check_parents(self, name: bytes, parent: bytes) -> None:
        while parent not in self._directories:
            kind = self._kinds.get(parent)
            if kind is not None:
                self.complain(f"{shown(name)!r} lies below {shown(parent)!r}, a {kind.value}")
                return
            self._directories.add(parent)
            parent = posixpath.dirname(parent)

    def _check_hard_link(self, member: Member, name: bytes) -> None:
        try:
            target = normalised(member.target)
        except ImageError as error:
            self.complain(f"the hard link {shown(name)!r} has a wrong target: {error}")
            return
        if self._kinds.get(target) in {None, MemberKind.DIRECTORY} or target == name:
            self.complain(
                f"the hard link {shown(name)!r} is to {shown(target)!r}, which is no file before"
                " it in the same layer"
            )

    def _check_whiteout(self, member: Member, name: bytes, base: bytes) -> None:
        hidden = base.removeprefix(WHITEOUT)
        if hidden in {b"", b".", b".."}:
            self.complain(f"{shown(name)!r} is a whiteout of nothing")
        elif base.startswith(AUFS) and base != OPAQUE:
            return
        elif member.kind is not MemberKind.FILE or member.size:
            self.complain(f"{shown(name)!r} is a whiteout, but not an empty file")
