"""The rule for denied paths, and reading the names in the layers of an image for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from nixdock.layers.progress import NO_PROGRESS, Progress
from nixdock.policy.findings import Finding
from nixdock.policy.names import read_names, with_directories
from nixdock.policy.patterns import Patterns
from nixdock.policy.policy import Rule
from nixdock.system.text import path_text
from nixdock.tar.header import name_text
from nixdock.tar.whiteouts import is_whiteout

if TYPE_CHECKING:
    from nixdock.read.stored_layer import StoredLayer

__all__ = [
    "LayerContents",
    "denied_names",
    "path_finding",
    "path_findings",
    "read_contents",
]


class LayerContents(Struct, frozen=True):
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

    `is_local` says that the layers are in files. Raise ImageError if one is damaged or has too many
    names, and InputError if a comparison takes too long.
    """
    unique = [*dict.fromkeys(layers)]
    found = read_names(unique, progress, with_names=bool(patterns.compiled), is_local=is_local)
    # Here, because only the main thread can interrupt a comparison that takes too long.
    contents = {
        layer: LayerContents(size, denied_names(with_directories(names, layer.subject), patterns))
        for layer, (size, names) in zip(unique, found, strict=True)
    }
    return [contents[layer] for layer in layers]


def denied_names(names: Iterable[bytes], patterns: Patterns) -> dict[bytes, str]:
    """Return the denied ones of a layer's normalised names, with the expressions that deny them.

    A directory stands for everything in it. Whiteouts, which remove files, don't count; what is in
    a directory with the name of one does, because runtimes only look at the last component.
    """
    denied: dict[bytes, str] = {}
    if not patterns.compiled:
        return denied
    inside: bytes | None = None
    # In this order, everything in a directory comes right after it: no name has a NUL.
    for name in sorted(names, key=lambda name: name.replace(b"/", b"\0")):
        if not name or is_whiteout(name):
            continue
        if inside is not None and name.startswith(inside):
            continue
        if (pattern := patterns.within(f"/{name_text(name)}")) is not None:
            denied[name] = pattern
            inside = name + b"/"
    return denied


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
