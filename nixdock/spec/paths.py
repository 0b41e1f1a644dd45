"""The names of files in a spec: one table of the keys that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from nixdock.spec.image_spec import ImageSpec

__all__ = ["absolute", "file_names", "rebased"]

_FILE_KEYS: Final = (
    "store.root",
    "closure.graph",
    "top_layer",
    "from_image.path",
    "layering.previous",
    "layering.plan",
    "layering.pipeline",
)
_FILE_LIST_KEYS: Final = ("contents",)


def file_names(spec: ImageSpec) -> Iterator[tuple[str, str]]:
    """Yield each name of a file in `spec` after its key; empty names stand for no file."""
    for key in _FILE_KEYS:
        outer, _, inner = key.partition(".")
        value = getattr(spec, outer)
        value = getattr(value, inner, None) if inner else value
        # A pipeline may stand in the spec itself instead of in a file.
        if isinstance(value, str) and value:
            yield key, value
    for key in _FILE_LIST_KEYS:
        for i, name in enumerate(getattr(spec, key)):
            yield f"{key}[{i}]", name


def rebased(spec: ImageSpec, directory: Path) -> ImageSpec:
    """Return `spec` with the relative names of files counted from `directory`."""
    return _replace_names(spec, lambda name: str(directory / name))


def absolute(spec: ImageSpec) -> ImageSpec:
    """Return `spec` with absolute names of files, so that it can be read from any directory."""
    return _replace_names(spec, lambda name: str(Path(name).absolute()))


def _replace_names(spec: ImageSpec, change: Callable[[str], str]) -> ImageSpec:
    changes: dict[str, Any] = {}
    for key, name in file_names(spec):
        outer, _, inner = key.partition(".")
        if inner:
            value = changes.get(outer, getattr(spec, outer))
            changes[outer] = msgspec.structs.replace(value, **{inner: change(name)})
        elif outer in _FILE_KEYS:
            changes[outer] = change(name)
    for key in _FILE_LIST_KEYS:
        changes[key] = [change(name) for name in getattr(spec, key)]
    return msgspec.structs.replace(spec, **changes)
