"""`python -m tests.unit.native.fuzz LIBRARY SEED ROUNDS`: look for faults of the native packer.

In each round, a tree of any shape changes in any way while it is read in pieces of any size. The
library is built with the sanitizers of the compiler, which end the program at any fault. Beside
that, what is read must be the start of a tar, have nothing from outside of the tree, and leave
neither files open nor memory taken. A seed has the same rounds every time.
"""

from __future__ import annotations

import ctypes
import gc
import io
import os
import random
import shutil
import sys
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from nixdock.native import library
from nixdock.native.trees import Fault, TreeStream
from nixdock.tar.header import Headers, MemberMeta

_SECRET: Final = b"from outside of the tree"
_NAMES: Final = ("a", "b", "c", "n" * 99, "n" * 101, "n" * 255, "ä", "\udcff", ".wh.x", "d", "e")
# Less than this is no stream of the library, which has a buffer of some kilobytes.
_LEAK: Final = 1 << 14


def main(seed: int, rounds: int) -> None:
    """Run all rounds; raise AssertionError if one finds a fault."""
    heap = ctypes.CDLL(None).__sanitizer_get_current_allocated_bytes
    heap.restype = ctypes.c_size_t
    sizes = []
    for _ in range(2):
        faults = {_round(random.Random(f"{seed} {number}")) for number in range(rounds)}
        gc.collect()
        sizes.append(heap())
    assert sizes[1] - sizes[0] < _LEAK, f"{sizes[1] - sizes[0]} bytes stay allocated"
    print(*sorted(fault.name for fault in faults))


def _round(chance: random.Random) -> Fault:
    with tempfile.TemporaryDirectory() as directory:
        store = Path(directory, "store")
        outside = Path(directory, "outside")
        outside.mkdir()
        store.mkdir()
        for name in _NAMES[:3]:
            (outside / name).write_bytes(_SECRET)
        for name in ("one", "two", "three"):
            _make(chance, store / name, chance.randrange(4))
        before = os.listdir("/proc/self/fd")
        fault, data = _read(chance, store, outside)
        assert os.listdir("/proc/self/fd") == before, "a file stays open"
    assert _SECRET not in data
    if fault is Fault.NONE:
        with tarfile.open(fileobj=io.BytesIO(data + bytes(1024)), mode="r:") as tar:
            assert all(member.name.startswith("nix/store/") for member in tar)
    return fault or Fault.NONE


def _read(chance: random.Random, store: Path, outside: Path) -> tuple[Fault | None, bytes]:
    """Read the trees, with a change now and then; return how that ended and what was read.

    None means that the stream was given up before its end.
    """
    header = Headers(MemberMeta()).template
    assert header is not None
    parent = os.open(store, os.O_RDONLY | os.O_DIRECTORY)
    most = chance.choice([1, 7, 512, 700, 5000, 1 << 16])
    calm = chance.choice([5, 50, 500, 10**9])
    data = bytearray()
    try:
        names = [b"one", b"two", b"three", b"none"][: chance.choice([1, 3, 3, 3, 4])]
        with TreeStream(header, parent, b"nix/store/", names) as stream:
            for _ in range(chance.choice([3, 2000])):
                buffer = bytearray(chance.randrange(most) + 1)
                count = stream.readinto(memoryview(buffer))
                data += buffer[:count]
                if count < len(buffer):
                    return Fault(stream.place.fault), bytes(data)
                if chance.randrange(calm) == 0:
                    _change(chance, store, outside)
            return None, bytes(data)
    finally:
        os.close(parent)


def _make(chance: random.Random, path: Path, depth: int) -> None:
    """Make a tree of some kind, unless there is something already."""
    if os.path.lexists(path):
        return
    match chance.randrange(8) if depth else chance.randrange(4):
        case 0:
            path.symlink_to("t" * chance.choice([1, 99, 100, 101, 300]))
        case 1:
            os.mkfifo(path)
        case 2 | 3:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x" * chance.choice([0, 1, 511, 512, 513, 5000, 70_000]))
        case _:
            path.mkdir(parents=True)
            for name in chance.sample(_NAMES, chance.randrange(5)):
                _make(chance, path / name, depth - 1)


def _change(chance: random.Random, store: Path, outside: Path) -> None:
    """Change a file or directory of the store in some way, if that is possible."""
    # File systems list the files of a directory in different orders.
    paths = sorted(
        Path(parent, name)
        for parent, directories, files in os.walk(store)
        for name in (*directories, *files)
    )
    if not paths:
        return
    path = chance.choice(paths)
    is_file = not path.is_symlink() and path.is_file()
    with suppress(OSError):
        match chance.randrange(8):
            case 0 if is_file:
                os.truncate(path, chance.randrange(1000))
            case 1 if is_file:
                with path.open("ab") as stream:
                    stream.write(b"more" * chance.randrange(500))
            case 2:
                path.unlink()
            case 3 if not path.is_symlink() and path.is_dir():
                shutil.rmtree(path)
            case 4:
                path.rename(chance.choice(paths))
            case 5 | 6:
                path.rename(outside / str(chance.random()))
                path.symlink_to(chance.choice([outside, outside / "a"]))
            case 7:
                path.unlink()
                os.mkfifo(path)
            case _:
                _make(chance, path / chance.choice(_NAMES), 2)


if __name__ == "__main__":
    library.FILE = Path(sys.argv[1])  # type: ignore[misc]
    main(int(sys.argv[2]), int(sys.argv[3]))
