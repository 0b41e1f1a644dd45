"""Reading NARs: Nix's archives of a file tree, as store paths are hashed and sent.

There is one way only to write a tree, and this reader takes no other, so that nothing can hide
behind the hash of a NAR (Nix manual, "Nix Archive (NAR) format").
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Final

from nixdock.nix.nar_entry import MOST_PATH, NarEntry
from nixdock.nix.nar_strings import StringReader
from nixdock.system.text import shown

__all__ = ["NarReader"]

# Names of files have at most 255 bytes on Linux, and 255 characters elsewhere.
_MOST_NAME: Final = 1024
_MOST_TARGET: Final = 4096
# The size of a file is a signed number of eight bytes for every system.
_SIZE_LIMIT: Final = 2**63


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data + bytes(-len(data) % 8)


def _strings(*texts: str) -> bytes:
    return b"".join(_string(text.encode()) for text in texts)


_MAGIC: Final = _strings("nix-archive-1")
_NODE: Final = _strings("(", "type")
_REGULAR: Final = _strings("regular")
_EXECUTABLE: Final = _strings("executable", "")
_CONTENTS: Final = _strings("contents")
_DIRECTORY: Final = _strings("directory")
_SYMLINK: Final = _strings("symlink", "target")
_ENTRY: Final = _strings("entry", "(", "name")
_ENTRY_NODE: Final = _strings("node")
_CLOSE: Final = _strings(")")
_CLOSE_ENTRY: Final = _strings(")", ")")
_NEXT_ENTRY: Final = _CLOSE_ENTRY + _ENTRY


# The same after so many bytes of padding.
_NEXT_ENTRIES: Final = tuple(bytes(count) + _NEXT_ENTRY for count in range(8))
_TARGET: Final = 6
_NO_NAMES: Final = frozenset({b"", b".", b".."})
_NOTHING: Final = memoryview(b"")


def _common_entry() -> re.Pattern[bytes]:
    """Return what matches a file's entry, from its name to its contents, or a symlink's.

    Most entries match, and an expression takes less time than as many comparisons. Whether its
    numbers fit what was matched is for the caller to see, and how many zeros follow it.
    """
    number = b"(?s:(.{8}))"
    name = number + rb"([^/\0]{1,255})\0{0,7}"
    file = re.escape(_REGULAR) + b"(" + re.escape(_EXECUTABLE) + b")?" + re.escape(_CONTENTS)
    link = re.escape(_SYMLINK) + number + rb"([^\0]{1,4096})\0{0,7}(?=\x01)"
    nodes = b"(?:" + file + number + b"|" + link + b")"
    return re.compile(name + re.escape(_ENTRY_NODE + _NODE) + nodes)


_COMMON_ENTRY: Final = _common_entry()


class NarReader(StringReader):
    """Reads the NAR in `stream`, up to its end; `place` says where it is, for errors.

    Iterate over the reader for the entries: each directory comes before what is in it, and names
    are in ascending order of their bytes. Between two entries, `read` returns the contents of the
    last one, if it is a file; what is not read is skipped. At most some megabytes are held,
    whatever the size of the files.

    Both raise StoreError if the bytes are not a NAR, or not the only one of their tree: for names
    that are not in order, empty, `.`, `..` or with a slash or NUL, for padding that is not zero,
    and for bytes after the end.
    """

    def __init__(self, stream: io.RawIOBase | io.BufferedIOBase, place: str) -> None:
        super().__init__(stream, place)
        # How much of the last file has not been read.
        self._left = 0
        # The directories that are not complete, from the root down: path, and last name so far.
        self._open_directories: list[tuple[bytes, bytes]] = []

    def __iter__(self) -> Iterator[NarEntry]:
        """Yield the entries, once."""
        self._expect(_MAGIC, "the start of a NAR")
        entry = self._node(b"")
        while True:
            yield entry
            is_open = entry.kind == "directory"
            if is_open:
                self._open_directories.append((entry.path, b""))
            while self._left:
                self.read(self._left)
            padding = -entry.size % 8
            common = self._common_entry(_ENTRY if is_open else _NEXT_ENTRIES[padding])
            if common is not None:
                entry = common
                continue
            self._skip_padding(padding)
            path = self._next_path(is_open=is_open)
            if path is None:
                break
            self._expect(_ENTRY_NODE, "the node of a directory's entry")
            entry = self._node(path)
        if self._available(1):
            raise self._error("other bytes follow its end")

    def read(self, most: int, /) -> memoryview:
        """Return the next bytes of the last file, at most so many; none at its end.

        They are not copied, and never change.
        """
        wanted = min(most, self._left)
        if not wanted:
            return _NOTHING
        if 0 < self._bridged <= self._at:
            self._cross()
        if self._at == len(self._window) and not self._available(1):
            raise self._truncated()
        piece = memoryview(self._window)[self._at : self._at + wanted]
        self._at += len(piece)
        self._left -= len(piece)
        return piece

    def _common_entry(self, before: bytes) -> NarEntry | None:
        """Return the next entry, which comes after the bytes `before`, if it is most common.

        That is a file or symlink of the last directory, of which all but a file's contents is in
        the window. What is anything else, or not valid, is not taken, and None is returned.
        """
        if 0 < self._bridged <= self._at:
            self._cross()
        window, at = self._window, self._at
        if not self._open_directories or not window.startswith(before, at):
            return None
        at += len(before)
        found = _COMMON_ENTRY.match(window, at)
        if found is None:
            return None
        length, name, executable, size, target_length, target = found.groups()
        directory, last = self._open_directories[-1]
        path = directory + b"/" + name if directory else name
        end = found.end()
        if (
            int.from_bytes(length, "little") != len(name)
            or name <= last
            or name in _NO_NAMES
            or len(path) > MOST_PATH
            # The other strings have multiples of eight bytes: so has this one, with its zeros.
            or (end - at) % 8
        ):
            return None
        # Calling the class takes twice the time.
        if target is None:
            left = int.from_bytes(size, "little")
            if left >= _SIZE_LIMIT:
                return None
            entry = tuple.__new__(NarEntry, (path, "regular", bool(executable), left, b""))
        else:
            left = 0
            is_aligned = (found.start(_TARGET) - at) % 8 == 0
            if int.from_bytes(target_length, "little") != len(target) or not is_aligned:
                return None
            entry = tuple.__new__(NarEntry, (path, "symlink", False, 0, target))
        self._open_directories[-1] = directory, name
        self._at = end
        self._left = left
        return entry

    def _next_path(self, *, is_open: bool) -> bytes | None:
        """Return the path of the next entry, or None at the end; `is_open` after a directory."""
        directories = self._open_directories
        if not directories:
            self._expect(_CLOSE, "the end of the root")
            return None
        if not is_open and self._window.startswith(_NEXT_ENTRY, self._at):
            self._at += len(_NEXT_ENTRY)
        else:
            if not is_open:
                self._expect(_CLOSE_ENTRY, "the end of a directory's entry")
            while not self._follows(_ENTRY):
                directories.pop()
                end = _CLOSE_ENTRY if directories else _CLOSE
                self._expect(end, "the end of a directory, or its next entry")
                if not directories:
                    return None
        directory, last = directories[-1]
        name = self._name(directory, last)
        directories[-1] = directory, name
        path = directory + b"/" + name if directory else name
        if len(path) > MOST_PATH:
            raise self._error(f"a path in it has more than {MOST_PATH} bytes")
        return path

    def _node(self, path: bytes) -> NarEntry:
        self._expect(_NODE, "a node with its type")
        if self._follows(_REGULAR):
            executable = self._follows(_EXECUTABLE)
            self._expect(_CONTENTS, "the contents of a file")
            return self._file(path, executable=executable)
        if self._follows(_DIRECTORY):
            return NarEntry(path, "directory")
        if self._follows(_SYMLINK):
            target = self._text(_MOST_TARGET, "the target of a symlink")
            if not target or b"\0" in target:
                raise self._error("the target of a symlink is empty, or has a NUL in it")
            return NarEntry(path, "symlink", target=target)
        raise self._error("expected a regular file, a directory or a symlink")

    def _file(self, path: bytes, *, executable: bool) -> NarEntry:
        size = self._number()
        if size >= _SIZE_LIMIT:
            raise self._error("a file in it is too large")
        self._left = size
        return NarEntry(path, "regular", executable, size)

    def _name(self, directory: bytes, last: bytes) -> bytes:
        name = self._text(_MOST_NAME, "the name of a file")
        if name in _NO_NAMES or b"/" in name or b"\0" in name:
            raise self._error(f"{shown(name)!r} can't be the name of a file")
        if name <= last:
            where = shown(directory) if directory else "the root"
            raise self._error(
                f"the names in {where} are not in order: {shown(name)} after {shown(last)}"
            )
        return name
