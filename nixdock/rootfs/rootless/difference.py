"""What a script has made of a tree, as the members of a layer.

A layer on top of another says what is new and what has changed, in whole files, and what is gone,
by whiteouts (image-spec, layer.md).
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nixdock.errors import PackError
from nixdock.rootfs.rootless.fakeroot import FakeFile, Inode
from nixdock.tar.header import Attributes, Entry, name_text
from nixdock.tar.kinds import Kind
from nixdock.tar.whiteouts import OPAQUE, WHITEOUT

__all__ = ["Snapshot", "difference"]

log = logging.getLogger(__name__)

_KINDS: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
}


@dataclass(frozen=True, slots=True)
class _Found:
    """A file on disk; `stamp` is what any change of its bytes, by whomever, changes as well."""

    inode: Inode
    fake: FakeFile
    stamp: tuple[int, int, int]
    path: bytes

    @property
    def kind(self) -> int:
        return stat.S_IFMT(self.fake.mode)

    @property
    def is_directory(self) -> bool:
        return self.kind == stat.S_IFDIR

    def is_as(self, before: _Found) -> bool:
        """Tell whether it is still what it was; what is in a directory does not count."""
        same = self.inode == before.inode and self.fake == before.fake
        return same and (self.is_directory or self.stamp == before.stamp)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of a tree at one time, by name, parents first; the root's name is empty."""

    files: Mapping[bytes, _Found] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, fakes: Mapping[Inode, FakeFile]) -> Snapshot:
        """Look at the tree in `root`, which belongs to whoever runs this.

        What that one can't read is made readable; the mode that it had is remembered.
        """
        return cls(dict(_look(os.fsencode(root), fakes)))


def _look(root: bytes, fakes: Mapping[Inode, FakeFile]) -> Iterator[tuple[bytes, _Found]]:
    pending = [(b"", root)]
    while pending:
        name, path = pending.pop()
        info = os.lstat(path)
        if stat.S_ISSOCK(info.st_mode):
            log.warning("/%s is a socket, which an image can't hold: it is left out", shown(name))
            continue
        inode = Inode(info.st_dev, info.st_ino)
        fake = fakes.get(inode, FakeFile(info.st_mode))
        stamp = (info.st_ctime_ns, info.st_mtime_ns, info.st_size)
        yield name, _Found(inode, fake, stamp, path)
        _make_readable(path, info.st_mode)
        if stat.S_ISDIR(info.st_mode):
            children = sorted(os.listdir(path), key=name_text, reverse=True)
            prefix = name + b"/" if name else b""
            pending += [(prefix + child, path + b"/" + child) for child in children]


def _make_readable(path: bytes, mode: int) -> None:
    needed = 0o700 if stat.S_ISDIR(mode) else 0o400
    if not stat.S_ISLNK(mode) and mode & needed != needed:
        os.chmod(path, stat.S_IMODE(mode) | needed)


def shown(name: bytes) -> str:
    """Return a name for people."""
    return name_text(name).encode("utf-8", "backslashreplace").decode()


def difference(before: Snapshot, after: Snapshot, empty_file: Path) -> list[Entry]:
    """Return the members of a layer that makes `after` of `before`, the root first.

    `empty_file` stands for whiteouts.
    """
    changed = {name for name, found in after.files.items() if _has_changed(name, found, before)}
    remade = {
        name
        for name, found in after.files.items()
        if name in before.files
        and found.is_directory
        and before.files[name].is_directory
        and found.inode != before.files[name].inode
    }
    # All that lies in a directory which was made again has to be said again.
    changed |= {name for name in after.files if any(above in remade for above in _above(name))}
    gone = _gone(before, after, remade)
    old = {found.inode: found for found in before.files.values()}
    needed = changed | remade | gone.keys() | {b""}
    needed |= {above for name in needed for above in _above(name)}
    entries = []
    for name, found in after.files.items():
        if name not in needed:
            continue
        entries.append(_entry(name, found, _kept_xattrs(found, old)))
        if name in remade:
            entries.append(_whiteout(name, OPAQUE, empty_file))
        entries += [
            _whiteout(name, WHITEOUT + base, empty_file)
            for base in sorted(gone.get(name, []), key=name_text)
        ]
    return entries


def _has_changed(name: bytes, found: _Found, before: Snapshot) -> bool:
    old = before.files.get(name)
    return old is None or not found.is_as(old)


def _gone(before: Snapshot, after: Snapshot, remade: set[bytes]) -> dict[bytes, list[bytes]]:
    """Return what is gone from each directory that is still there."""
    gone: dict[bytes, list[bytes]] = {}
    for name in before.files:
        if name in after.files:
            continue
        directory, _, base = name.rpartition(b"/")
        parent = after.files.get(directory)
        if parent is not None and parent.is_directory and directory not in remade:
            gone.setdefault(directory, []).append(base)
    return gone


def _above(name: bytes) -> Iterator[bytes]:
    """Yield the names of the directories above, the root last."""
    while name:
        name = name.rpartition(b"/")[0]
        yield name


def _kept_xattrs(found: _Found, before: Mapping[Inode, _Found]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the extended attributes that a file has kept, wherever it is now.

    The kernel takes capabilities from a file that is written to or is given away.
    """
    old = before.get(found.inode)
    if old is None or old.kind != found.kind:
        return ()
    same = old.stamp[1:] == found.stamp[1:]
    given_away = (old.fake.uid, old.fake.gid) != (found.fake.uid, found.fake.gid)
    return old.fake.xattrs if found.is_directory or (same and not given_away) else ()


def _entry(name: bytes, found: _Found, xattrs: tuple[tuple[bytes, bytes], ...]) -> Entry:
    fake = found.fake
    if name.rpartition(b"/")[2].startswith(WHITEOUT):
        raise PackError(
            f"/{shown(name)} has the name of a whiteout: in a layer it would delete a file instead"
            " of being one; the script must not make it"
        )
    kind = _KINDS[found.kind]
    mode = stat.S_IMODE(fake.mode)
    return Entry(
        name=b"/" + name + (b"/" if found.is_directory and name else b""),
        kind=kind,
        mode=mode,
        size=found.stamp[2] if kind == Kind.FILE else 0,
        target=os.readlink(found.path) if kind == Kind.SYMLINK else b"",
        source=found.path,
        attributes=Attributes.owned_by(
            fake.uid, fake.gid, (os.major(fake.rdev), os.minor(fake.rdev)), xattrs
        ),
    )


def _whiteout(directory: bytes, base: bytes, empty_file: Path) -> Entry:
    prefix = b"/" + directory + b"/" if directory else b"/"
    return Entry(prefix + base, Kind.FILE, 0o644, source=os.fsencode(empty_file))
