"""The baseline for streaming: a writer based on `tarfile` alone.

    python two_pass.py PLAN ROOT > IMAGE

Writes a docker-archive's layers. A layer's name in the archive is its digest and its header holds
its size, so each layer is made twice: into a hash, and then into the archive. PLAN is what
`nixdock plan --json` prints. The digests go to standard error, a line each.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

_STORE = "/nix/store"


class _Sink(io.RawIOBase):
    """A file that counts the bytes written to it, and passes them on."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # tarfile writes just bytes
        self._write(data)
        self.size += len(data)
        return len(data)


def _neutral(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = 1
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _tree(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        yield from sorted(path.rglob("*"))


def _write_layer(paths: Sequence[str], root: str, write: Callable[[bytes], object]) -> int:
    sink = _Sink(write)
    with tarfile.open(fileobj=sink, mode="w|") as tar:
        for name in ("/nix", _STORE):
            directory = _neutral(tarfile.TarInfo(name))
            directory.type = tarfile.DIRTYPE
            directory.mode = 0o755
            tar.addfile(directory)
        for path in paths:
            for file in _tree(Path(root + path)):
                member = _neutral(tar.gettarinfo(str(file)))
                member.name = str(file)[len(root) :]
                if member.islnk():
                    member.type, member.linkname = tarfile.REGTYPE, ""
                    member.size = file.stat().st_size
                if member.isreg():
                    with file.open("rb") as stream:
                        tar.addfile(member, stream)
                else:
                    tar.addfile(member)
    return sink.size


def main(plan: Path, root: str, out: BinaryIO) -> None:
    """Write the archive to `out`."""
    sink = _Sink(out.write)
    with tarfile.open(fileobj=sink, mode="w|") as archive:
        for layer in json.loads(plan.read_bytes())["layers"]:
            digest = hashlib.sha256()
            size = _write_layer(layer["paths"], root, digest.update)
            print(digest.hexdigest(), file=sys.stderr)
            member = tarfile.TarInfo(f"{digest.hexdigest()}/layer.tar")
            member.size = size
            archive.addfile(member)
            # What `addfile` does with a file's bytes, had the layer been one.
            stream = archive.fileobj
            if stream is None:
                raise AssertionError("the archive is closed")
            _write_layer(layer["paths"], root, stream.write)
            padding = -size % tarfile.BLOCKSIZE
            stream.write(bytes(padding))
            archive.offset += size + padding


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.stdout.buffer)
