"""A small closure in a store, and caches of it, made without Nix."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import brotli
import orjson
from nacl.signing import SigningKey

from nixdock.coding.libzstd import zstd
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.signatures import fingerprint
from nixdock.nix.store_path import StorePath
from tests.unit.nix.nar_files import File, Link, Tree, dump, write

__all__ = ["APP", "COMPRESSORS", "KEY", "LIBC", "Sample", "sample"]

COMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "xz": lzma.compress,
    "zstd": zstd.compress,
    "bzip2": bz2.compress,
    "gzip": gzip.compress,
    "br": brotli.compress,
}


def path(letter: str, name: str) -> StorePath:
    return StorePath.parse(f"/nix/store/{letter * 32}-{name}")


NAMES = ("libc", "script", "link", "app")
LIBC, SCRIPT, LINK, APP = (path(letter, name) for letter, name in zip("abcd", NAMES, strict=True))
TREES: Mapping[StorePath, Tree] = {
    LIBC: {
        b"lib": {b"libc.so": Link(b"libc.so.6"), b"libc.so.6": File(bytes(range(256)) * 12)},
        b"share": {b"a" * 120: File(b"long"), "é".encode(): File(b""), b"empty": {}},
    },
    SCRIPT: File(b"#!/bin/sh\n", executable=True),
    LINK: Link(f"{LIBC}/lib".encode()),
    APP: {
        b"bin": {b"app": File(b"program", executable=True), b"big": File(b"x" * 3_000_001)},
        b"etc": {b"app.conf": File(b"on = true\n")},
    },
}
REFERENCES: Mapping[StorePath, Iterable[StorePath]] = {
    LIBC: [LIBC],
    SCRIPT: [LIBC],
    LINK: [LIBC],
    APP: [LIBC, SCRIPT, LINK],
}
SECRET = SigningKey(hashlib.sha256(b"a key for tests").digest())


def public_key(secret: SigningKey = SECRET, name: str = "test-1") -> str:
    return f"{name}:{encoded(bytes(secret.verify_key))}"


def encoded(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


KEY = public_key()


def signature(info: PathInfo, secret: SigningKey = SECRET, name: str = "test-1") -> str:
    return f"{name}:{encoded(secret.sign(fingerprint(info)).signature)}"


@dataclass(frozen=True)
class Sample:
    """A closure, whose store is below `root` and whose graph is in the file `graph`."""

    root: Path
    graph: Path
    closure: Closure
    nars: Mapping[StorePath, bytes]
    trees: Mapping[StorePath, Tree]

    def cache(
        self,
        directory: Path,
        compression: str = "xz",
        *,
        secret: SigningKey | None = SECRET,
        listings: bool = False,
        priority: int | None = None,
    ) -> Path:
        """Write a cache into a directory, as `nix copy --to file://` does."""
        (directory / "nar").mkdir(parents=True, exist_ok=True)
        first = "" if priority is None else f"Priority: {priority}\n"
        (directory / "nix-cache-info").write_text(f"StoreDir: /nix/store\n{first}")
        for info in self.closure:
            data = COMPRESSORS[compression](self.nars[info.path])
            suffix = "" if compression == "none" else f".{compression}"
            url = f"nar/{info.path.hash_part}.nar{suffix}"
            (directory / url).write_bytes(data)
            lines = narinfo_lines(info, url, compression, data)
            if secret is not None:
                lines.append(f"Sig: {signature(info, secret)}")
            narinfo = directory / f"{info.path.hash_part}.narinfo"
            narinfo.write_text("".join(f"{line}\n" for line in lines))
            if listings:
                document = {"version": 1, "root": listed(self.trees[info.path])}
                (directory / f"{info.path.hash_part}.ls").write_bytes(orjson.dumps(document))
        return directory


def narinfo_lines(info: PathInfo, url: str, compression: str, data: bytes) -> list[str]:
    assert info.nar_hash is not None
    return [
        f"StorePath: {info.path}",
        f"URL: {url}",
        f"Compression: {compression}",
        f"FileHash: sha256:{hash_of(data).base32}",
        f"FileSize: {len(data)}",
        f"NarHash: sha256:{info.nar_hash.base32}",
        f"NarSize: {info.nar_size}",
        f"References: {' '.join(each.base_name for each in info.references)}",
    ]


def hash_of(data: bytes) -> Hash:
    return Hash("sha256", hashlib.sha256(data).digest())


def listed(tree: Tree) -> dict[str, object]:
    if isinstance(tree, File):
        mark = {"executable": True} if tree.executable else {}
        return {"type": "regular", "size": len(tree.data), "narOffset": 0, **mark}
    if isinstance(tree, Link):
        return {"type": "symlink", "target": tree.target.decode()}
    entries = {name.decode(): listed(child) for name, child in tree.items()}
    return {"type": "directory", "entries": entries}


def sample(directory: Path, trees: Mapping[StorePath, Tree] = TREES) -> Sample:
    """Write the closure's store and graph into a directory."""
    root = directory / "root"
    nars = {}
    infos = []
    for each, tree in trees.items():
        file = Path(f"{root}{each}")
        file.parent.mkdir(parents=True, exist_ok=True)
        write(tree, os.fsencode(file))
        nars[each] = dump(tree)
        references = tuple(sorted(REFERENCES.get(each, [LIBC, SCRIPT, LINK])))
        infos.append(PathInfo(each, len(nars[each]), hash_of(nars[each]), references))
    graph = directory / "graph.json"
    graph.write_bytes(
        orjson.dumps(
            [
                {
                    "path": info.path,
                    "narSize": info.nar_size,
                    "narHash": str(info.nar_hash),
                    "references": info.references,
                }
                for info in infos
            ]
        )
    )
    return Sample(root, graph, Closure.of(infos), nars, trees)
