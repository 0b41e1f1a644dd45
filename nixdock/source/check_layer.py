"""Whether a layer's blob is what is said of it, and its tar one that every runtime unpacks."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import Final

from nixdock.errors import ImageError
from nixdock.source.decompress import Coding, DecompressedReader
from nixdock.source.hashed import HashedReader, buffered, drain
from nixdock.source.image import SourceLayer
from nixdock.source.names import normalised
from nixdock.source.problem import Problem, shown
from nixdock.source.tar_reader import Member, MemberKind, TarReader

__all__ = ["check_blob", "check_layer"]

_MOST_PROBLEMS: Final = 20
_WHITEOUT: Final = b".wh."
_OPAQUE: Final = b".wh..wh..opq"
# AUFS's own files, which everyone ignores, start so.
_AUFS: Final = b".wh..wh."


def check_layer(layer: SourceLayer) -> list[Problem]:
    """Read a layer once and return all that is wrong with it."""
    problems = [Problem(layer.place, text) for text in filter(None, [layer.media_type_error()])]
    with HashedReader(layer.members.open(layer.name)) as blob:
        problems += _check_tar(blob, layer)
    problems += check_blob(blob, layer.place, layer.declared_digest, layer.size)
    return problems


def check_blob(
    blob: HashedReader, place: str, digest: str | None, size: int | None
) -> list[Problem]:
    """Return what is wrong with a blob that was read to its end."""
    problems = []
    if size is not None and blob.size != size:
        problems.append(Problem(place, f"the blob has {blob.size} bytes, but should have {size}"))
    if digest is not None and blob.digest != digest:
        message = f"the blob {digest} is damaged: its digest is {blob.digest}"
        problems.append(Problem(place, message))
    return problems


def _check_tar(blob: HashedReader, layer: SourceLayer) -> list[Problem]:
    """Return what is wrong with the tar in `blob`; read both to their ends."""
    raw = blob if layer.coding is Coding.NONE else DecompressedReader(blob, layer.coding, "it")
    tar = HashedReader(raw)
    stream = buffered(tar)
    check = _TarCheck()
    reader = TarReader(stream)
    problems: list[Problem] = []
    readable = True
    try:
        for member in reader:
            check.add(member)
    except ImageError as error:
        check.complain(str(error))
    try:
        drain(stream)
    except ImageError as error:
        # The tar's reader, too, may have come no further than this.
        readable = False
        if str(error) not in check.messages:
            check.complain(str(error))
    drain(blob)
    if reader.global_headers:
        check.complain("it has a PAX global header, at which umoci fails")
    problems += [Problem(layer.place, message) for message in check.messages]
    if check.unsaid:
        problems.append(Problem(layer.place, f"and {check.unsaid} problems more"))
    if readable and tar.digest != layer.diff_id:
        message = f"its diff_id is {layer.diff_id}, but uncompressed its digest is {tar.digest}"
        problems.append(Problem(layer.place, message))
    return problems


@dataclass(slots=True)
class _TarCheck:
    """What can be wrong with one member in the light of those before it."""

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
        if base.startswith(_WHITEOUT):
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
        hidden = base.removeprefix(_WHITEOUT)
        if hidden in {b"", b".", b".."}:
            self.complain(f"{shown(name)!r} is a whiteout of nothing")
        elif base.startswith(_AUFS) and base != _OPAQUE:
            return
        elif member.kind is not MemberKind.FILE or member.size:
            self.complain(f"{shown(name)!r} is a whiteout, but not an empty file")
