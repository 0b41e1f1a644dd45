"""The changes that scripts have made to a tree, as the members of a layer.

A layer has new and changed files as a whole, and whiteouts for files that have been removed
(image-spec, layer.md, "Change Types").
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from nixdock.errors import PackError
from nixdock.rootfs.rootless.fakeroot import FakeFile, Inode
from nixdock.system.text import path_text
from nixdock.tar.devices import device_fault
from nixdock.tar.header import Attributes, Entry, name_text
from nixdock.tar.kinds import Kind
from nixdock.tar.whiteouts import WHITEOUT

__all__ = ["Snapshot", "difference"]

log = logging.getLogger(__name__)

_MEMBER_KINDS: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
}
_DEVICES: Final = frozenset({Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE})


class _File(Struct, frozen=True):
    """A file on disk, with its attributes under fakeroot.

    `stamp` is its change and modification time, in nanoseconds, and its size: it differs after any
    change of the contents.
    """

    inode: Inode
    fake: FakeFile
    stamp: tuple[int, int, int]
    path: bytes

    @property
    def file_type(self) -> int:
        return stat.S_IFMT(self.fake.mode)

    @property
    def is_directory(self) -> bool:
        return self.file_type == stat.S_IFDIR

    def is_unchanged_since(self, before: _File) -> bool:
        """Tell whether it is the same file with the same contents.

        A directory is the same as any other one with its attributes: what is in it is compared by
        itself. Whether another one is in its place can't be known, because that may have its inode
        number, so no layer may depend on it.
        """
        same = self.is_directory or (self.inode == before.inode and self.stamp == before.stamp)
        return same and self.fake == before.fake


class Snapshot(Struct, frozen=True):
    """The files of a tree at one time, by name, parents first; the root's name is empty."""

    files: Mapping[bytes, _File] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, fakes: Mapping[Inode, FakeFile]) -> Snapshot:
        """Return a snapshot of the tree in `root`; `fakes` is fakeroot's state.

        Files that can't be read are made readable on disk, but keep their mode in the snapshot.
        Sockets are left out, with a warning. Raise PackError if a file can't be read, such as one
        whose path is too long.
        """
        try:
            return cls(dict(_files(os.fsencode(root), fakes)))
        except OSError as error:
            path = path_text(os.fsencode(error.filename or root)).removeprefix(str(root))
            raise PackError(
                f"can't read {path}, which the scripts made: {error.strerror}", path=path
            ) from None


def _files(root: bytes, fakes: Mapping[Inode, FakeFile]) -> Iterator[tuple[bytes, _File]]:
    pending = [(b"", root)]
    while pending:
        name, path = pending.pop()
        info = os.lstat(path)
        if stat.S_ISSOCK(info.st_mode):
            log.warning(
                "/%s is left out: it is a socket, which a layer can't hold", path_text(name)
            )
            continue
        inode = Inode(info.st_dev, info.st_ino)
        fake = fakes.get(inode)
        # The state may be about an earlier file with the same inode number. Devices are files.
        if fake is None or stat.S_ISDIR(fake.mode) != stat.S_ISDIR(info.st_mode):
            fake = FakeFile(info.st_mode)
        stamp = (info.st_ctime_ns, info.st_mtime_ns, info.st_size)
        yield name, _File(inode, fake, stamp, path)
        _make_readable(path, info.st_mode)
        if stat.S_ISDIR(info.st_mode):
            children = sorted(os.listdir(path), key=name_text, reverse=True)
            prefix = name + b"/" if name else b""
            pending += [(prefix + child, path + b"/" + child) for child in children]


def _make_readable(path: bytes, mode: int) -> None:
    needed = 0o700 if stat.S_ISDIR(mode) else 0o400
    if not stat.S_ISLNK(mode) and mode & needed != needed:
        os.chmod(path, stat.S_IMODE(mode) | needed)


def difference(before: Snapshot, after: Snapshot, empty_file: Path) -> list[Entry]:
    """Return the members of a layer that turns `before` into `after`, the root first.

    `empty_file` is the source of whiteouts. Raise PackError if a file has the name of a whiteout,
    or is a device that no runtime takes.
    """
    changed = {name for name, file in after.files.items() if _has_changed(name, file, before)}
    removed = _removed(before, after)
    needed = changed | removed.keys() | {b""}
    for name in list(needed):
        for parent in _parents(name):
            if parent in needed:
                break
            needed.add(parent)
    before_by_inode = {file.inode: file for file in before.files.values()}
    entries = []
    for name, file in after.files.items():
        if name not in needed:
            continue
        old = before.files.get(name)
        if old is None or not (old.is_directory and file.is_directory):
            old = before_by_inode.get(file.inode)
        entries.append(_entry(name, file, () if old is None else _kept_xattrs(file, old)))
        entries += [
            _whiteout(name, WHITEOUT + base, empty_file)
            for base in sorted(removed.get(name, []), key=name_text)
        ]
    return entries


def _has_changed(name: bytes, file: _File, before: Snapshot) -> bool:
    old = before.files.get(name)
    return old is None or not file.is_unchanged_since(old)


def _removed(before: Snapshot, after: Snapshot) -> dict[bytes, list[bytes]]:
    """Return the names that need whiteouts, by the directory that they were removed from."""
    removed: dict[bytes, list[bytes]] = {}
    for name in before.files:
        if name in after.files:
            continue
        directory, _, base = name.rpartition(b"/")
        parent = after.files.get(directory)
        if parent is not None and parent.is_directory:
            removed.setdefault(directory, []).append(base)
    return removed


def _parents(name: bytes) -> Iterator[bytes]:
    """Yield the names of the parent directories, the root last."""
    while name:
        name = name.rpartition(b"/")[0]
        yield name


def _kept_xattrs(file: _File, old: _File) -> tuple[tuple[bytes, bytes], ...]:
    """Return the extended attributes that a file still has, even if `old` had another name.

    Like the kernel, remove them from a file whose contents or owner have changed: they may be
    capabilities.
    """
    if old.file_type != file.file_type:
        return ()
    same_contents = old.stamp[1:] == file.stamp[1:]
    same_owner = (old.fake.uid, old.fake.gid) == (file.fake.uid, file.fake.gid)
    return old.fake.xattrs if file.is_directory or (same_contents and same_owner) else ()


def _entry(name: bytes, file: _File, xattrs: tuple[tuple[bytes, bytes], ...]) -> Entry:
    fake = file.fake
    if name.rpartition(b"/")[2].startswith(WHITEOUT):
        path = f"/{path_text(name)}"
        raise PackError(
            f"{path} has the name of a whiteout: in a layer it would delete a file instead of being"
            " one; the script must not create it",
            path=path,
        )
    kind = _MEMBER_KINDS[file.file_type]
    device = os.major(fake.rdev), os.minor(fake.rdev)
    if kind in _DEVICES and (fault := device_fault(kind, device)):
        path = f"/{path_text(name)}"
        raise PackError(f"{path} {fault}; the script must not create it", path=path)
    mode = stat.S_IMODE(fake.mode)
    return Entry(
        name=b"/" + name + (b"/" if file.is_directory and name else b""),
        kind=kind,
        mode=mode,
        size=file.stamp[2] if kind == Kind.FILE else 0,
        target=os.readlink(file.path) if kind == Kind.SYMLINK else b"",
        source=file.path,
        attributes=Attributes.owned_by(fake.uid, fake.gid, device, xattrs),
    )


def _whiteout(directory: bytes, base: bytes, empty_file: Path) -> Entry:
    prefix = b"/" + directory + b"/" if directory else b"/"
    return Entry(prefix + base, Kind.FILE, 0o644, source=os.fsencode(empty_file))
