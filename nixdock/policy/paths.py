"""The rule for denied paths, and reading the names in the layers of an image for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nixdock.layers.hashed import buffered, drain
from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.policy.findings import Finding
from nixdock.policy.patterns import Patterns
from nixdock.policy.policy import Rule
from nixdock.read.side_by_side import Advance, read_side_by_side
from nixdock.read.watched import CountedReader, watched
from nixdock.system.cores import available_cores
from nixdock.system.text import path_text
from nixdock.tar.header import name_text
from nixdock.tar.names import normalised
from nixdock.tar.reader import TarReader
from nixdock.tar.whiteouts import is_hidden

if TYPE_CHECKING:
    from nixdock.read.stored_layer import StoredLayer

__all__ = [
    "LayerContents",
    "denied_names",
    "path_finding",
    "path_findings",
    "read_contents",
    "with_directories",
]


@dataclass(frozen=True, slots=True)
class LayerContents:
    """A layer that has been read: the size of its tar, and the denied names in it.

    Names have no slash at the start; each has the expression that denies it.
    """

    tar_size: int
    denied: Mapping[bytes, str]


def read_contents(
    layers: Sequence[StoredLayer],
    patterns: Patterns,
    progress: Progress = NO_PROGRESS,
    *,
    is_local: bool,
) -> list[LayerContents]:
    """Read and verify each layer, and return what is in them; equal layers are read once.

    `is_local` says that the layers are in files. Raise ImageError if one is damaged, and InputError
    if a comparison takes too long.
    """
    unique = [*dict.fromkeys(layers)]
    jobs = [partial(_listed, layer, with_names=bool(patterns.compiled)) for layer in unique]
    sizes = [layer.size for layer in unique]
    listed = read_side_by_side(jobs, sizes, available_cores(), progress, is_local=is_local)
    # Here, because only the main thread can interrupt a comparison that takes too long.
    contents = {
        layer: LayerContents(size, denied_names(names, patterns))
        for layer, (size, names) in zip(unique, listed, strict=True)
    }
    return [contents[layer] for layer in layers]


def _listed(
    layer: StoredLayer, advance: Advance, *, with_names: bool
) -> tuple[int, frozenset[bytes]]:
    """Return the size of a layer's tar, and the normalised names in it if they are wanted."""
    with CountedReader(watched(layer, advance).open_tar()) as counting:
        stream = buffered(counting)
        names = {
            normalised(member.name)
            for member in TarReader(stream, layer.place, sparse=True)
            if with_names
        }
        drain(stream)
        return counting.size, with_directories(names)


def with_directories(names: Iterable[bytes]) -> frozenset[bytes]:
    """Return a layer's normalised names, and those of directories that have no entry of their own.

    Runtimes make such directories when they unpack what is in them.
    """
    own = frozenset(names)
    found = set(own)
    for name in own:
        end = -1 if is_hidden(name) else name.rfind(b"/")
        while end > 0 and name[:end] not in found:
            found.add(name[:end])
            end = name.rfind(b"/", 0, end)
    return frozenset(found)


def denied_names(names: Iterable[bytes], patterns: Patterns) -> dict[bytes, str]:
    """Return the denied ones of a layer's normalised names, with the expressions that deny them.

    A directory stands for everything in it. Whiteouts, which remove files, don't count.
    """
    denied: dict[bytes, str] = {}
    if not patterns.compiled:
        return denied
    for name in sorted(names):
        if not name or is_hidden(name) or (denied and _is_inside(name, denied)):
            continue
        if (pattern := patterns.within(f"/{name_text(name)}")) is not None:
            denied[name] = pattern
    return denied


def _is_inside(name: bytes, directories: Mapping[bytes, str]) -> bool:
    """Tell whether a directory above `name` is among `directories`."""
    end = name.rfind(b"/")
    while end > 0:
        if name[:end] in directories:
            return True
        end = name.rfind(b"/", 0, end)
    return False


def path_findings(layers: Sequence[LayerContents]) -> Iterator[Finding]:
    """Yield the denied paths in the layers, bottom to top, also those that an upper one hides."""
    found: dict[bytes, tuple[str, list[int]]] = {}
    for number, layer in enumerate(layers, 1):
        for name, pattern in layer.denied.items():
            found.setdefault(name, (pattern, []))[1].append(number)
    for name in sorted(found):
        pattern, numbers = found[name]
        yield path_finding(f"/{path_text(name)}", pattern, tuple(numbers))


def path_finding(path: str, pattern: str, layers: tuple[int, ...] = ()) -> Finding:
    """Return the finding for a denied path, in these layers of an image or in a closure."""
    where = f" in {_layers_text(layers)}" if layers else ""
    message = f"{path}{where} matches {pattern!r}"
    return Finding(Rule.DENY_PATH, message, path, layers=layers, matched=pattern)


def _layers_text(numbers: tuple[int, ...]) -> str:
    if len(numbers) > 1:
        return f"layers {', '.join(map(str, numbers))}"
    return f"layer {numbers[0]}"
