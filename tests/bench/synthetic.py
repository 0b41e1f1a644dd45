"""A made-up closure with the shape of a real one, the same on every machine.

The distributions are those of 860 Debian packages as store paths: file sizes and files per path
are close to log-normal, most names are longer than a ustar header holds, and a twentieth of the
leaves are links. The contents are neither noise nor a constant, so that compressors have work.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from .closure import Closure

__all__ = ["Shape", "synthetic_closure"]

_FORMAT = 1
_STORE = "/nix/store"
_BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"
_POOL = 16 << 20
_VOCABULARY = """
array axis buffer cache chunk class column config context core data decode delta device digest
entry error event factor field figure filter frame graph group handle header image index input
kernel label layer level limit linalg list loader log map matrix message method metric mode
model module name node number object offset option order output packet page parser path pattern
plot point pool process proxy query queue random range reader record region report request
result router sample scale schema scope score server session setting signal sparse spec stage
state stats store stream string symbol table target task tensor test text thread time token tree
type unit user util value vector version view widget window
"""
_WORDS = _VOCABULARY.split()
_PREFIXES = (
    "lib/python3.13/site-packages/{0}",
    "lib/python3.13/site-packages/{0}/{1}/tests",
    "lib/python3.13/site-packages/{0}/{1}/__pycache__",
    "share/doc/{0}/examples/{1}",
    "share/{0}/{1}",
    "include/{0}/{1}",
    "lib/{0}",
    "bin",
)
_SUFFIXES = (".py", ".cpython-313.pyc", ".h", ".txt", ".so", ".json", ".png", "")


@dataclass(frozen=True)
class Shape:
    """How large a closure is."""

    paths: int = 200
    files: int = 38_000
    size: int = 1_020_000_000
    depth: int = 12
    seed: int = 1

    @property
    def key(self) -> str:
        """A name for the closure of this shape from this version of the module."""
        text = json.dumps([_FORMAT, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def synthetic_closure(shape: Shape, cache: Path) -> Closure:
    """Return the closure of `shape`, from `cache` if it is there already."""
    directory = cache / f"closure-{shape.key}"
    if not directory.exists():
        cache.mkdir(parents=True, exist_ok=True)
        growing = Path(tempfile.mkdtemp(dir=cache))
        try:
            # A process inherits its parent's peak of memory, so the one that measures stays small.
            with ProcessPoolExecutor(1) as executor:
                executor.submit(_fabricate, shape, growing).result()
            growing.rename(directory)
        finally:
            shutil.rmtree(growing, ignore_errors=True)
    return Closure(directory / "graph.json", str(directory / "root"))


def _fabricate(shape: Shape, directory: Path) -> None:
    chance = random.Random(shape.seed)
    pool = _pool(chance)
    counts = _shares(chance, shape.paths, shape.files, sigma=1.8)
    sizes = _shares(chance, shape.files, shape.size, sigma=2.1)
    paths = [_store_path(chance, i) for i in range(shape.paths)]
    references = _references(chance, paths, shape.depth)
    graph = []
    for path, count in zip(paths, counts, strict=True):
        own, sizes = sizes[:count], sizes[count:]
        _write_tree(chance, directory / "root" / path[1:], own, pool)
        digest = hashlib.sha256(path.encode()).hexdigest()
        graph.append(
            {
                "path": path,
                "narHash": f"sha256:{digest}",  # of the right form, but of nothing
                "narSize": sum(own) + 200 * count,
                "references": references[path],
            }
        )
    (directory / "graph.json").write_text(json.dumps(graph))


def _pool(chance: random.Random) -> bytes:
    """Return the bytes that files are cut from: a quarter noise, the rest words."""
    parts = []
    size = 0
    while size < _POOL:
        noise = chance.randbytes(chance.randrange(64, 1024))
        words = " ".join(chance.choices(_WORDS, k=chance.randrange(16, 512))).encode()
        parts += [noise, words]
        size += len(noise) + len(words)
    return b"".join(parts)[:_POOL]


def _shares(chance: random.Random, count: int, total: int, sigma: float) -> list[int]:
    """Divide `total` into `count` heavy-tailed shares, none of them above an eighteenth."""
    weights = [chance.lognormvariate(0, sigma) for _ in range(count)]
    highest = sum(weights) / 18
    weights = [min(weight, highest) for weight in weights]
    scale = (total - count) / sum(weights)
    shares = [1 + int(weight * scale) for weight in weights]
    shares[shares.index(max(shares))] += total - sum(shares)
    return shares


def _store_path(chance: random.Random, number: int) -> str:
    digits = "".join(chance.choices(_BASE32, k=32))
    name = "-".join(chance.choices(_WORDS, k=chance.randrange(1, 4)))
    return f"{_STORE}/{digits}-{name}-{number}.{chance.randrange(20)}"


def _references(chance: random.Random, paths: Sequence[str], depth: int) -> dict[str, list[str]]:
    """Give each path references to lower ones, and the last path one to all that have none."""
    levels = [i * depth // len(paths) for i in range(len(paths))]
    references: dict[str, list[str]] = {}
    for i, path in enumerate(paths):
        below = levels.index(levels[i])
        nearest = [paths[chance.randrange(levels.index(levels[i] - 1), below)]] if below else []
        # Low paths, such as a libc, are the most popular ones.
        others = [paths[int(below * chance.random() ** 2)] for _ in range(chance.randrange(6))]
        own = [path] if chance.random() < 0.2 else []
        references[path] = sorted({*nearest, *(others if below else ()), *own})
    referred = {r for path, found in references.items() for r in found if r != path}
    *others, last = paths
    references[last] = sorted({*references[last], *(p for p in others if p not in referred)})
    return references


def _write_tree(chance: random.Random, top: Path, sizes: Sequence[int], pool: bytes) -> None:
    top.parent.mkdir(parents=True, exist_ok=True)
    if len(sizes) == 1 and chance.random() < 0.5:
        top.write_bytes(_content(chance, sizes[0], pool))
        top.chmod(0o444)
        return
    directory = top
    left = 0
    for number, size in enumerate(sizes):
        if not left:
            prefix = chance.choice(_PREFIXES).format(*chance.choices(_WORDS, k=2))
            directory = top / prefix
            directory.mkdir(parents=True, exist_ok=True)
            left = min(200, int(chance.lognormvariate(1.5, 1.2)) + 1)
        left -= 1
        words = "_".join(chance.choices(_WORDS, k=chance.randrange(1, 4)))
        file = directory / f"{words}_{number}{chance.choice(_SUFFIXES)}"
        if chance.random() < 0.05:
            (directory / f"link_{number}").symlink_to(file.name)
        file.write_bytes(_content(chance, size, pool))
        file.chmod(0o555 if chance.random() < 0.1 else 0o444)


def _content(chance: random.Random, size: int, pool: bytes) -> bytes:
    at = chance.randrange(len(pool))
    whole, rest = divmod(size, len(pool))
    turned = pool[at:] + pool[:at] if whole or at + rest > len(pool) else b""
    return turned * whole + (turned[:rest] if turned else pool[at : at + rest])
