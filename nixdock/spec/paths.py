"""The names of files in a spec: one table of the keys that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from nixdock.errors import SpecError
from nixdock.oci.location import FileLocation, parse_location
from nixdock.spec.image_spec import ImageSpec

__all__ = ["absolute_file_names", "file_names", "is_in_store", "rebase_file_names"]

_FILE_KEYS: Final = (
    "store.root",
    "closure.graph",
    "top_layer",
    "from_image.path",
    "layering.previous",
    "layering.plan",
    "layering.pipeline",
)
_FILE_LIST_KEYS: Final = ("contents", "layering.previous")
_LOCATION_KEYS: Final = frozenset({"from_image.path", "layering.previous"})
"""The keys whose files are locations of images, of which only a part may be the name of a file."""


def file_names(spec: ImageSpec) -> Iterator[tuple[str, str]]:
    """Yield the key and the name, or the location, of each file in `spec`."""
    for key in _FILE_KEYS:
        if name := _file_name(spec, key):
            yield key, name
    for key in _FILE_LIST_KEYS:
        for i, name in enumerate(_file_names(spec, key)):
            yield f"{key}[{i}]", name


def is_in_store(content: str, store_dir: str) -> bool:
    """Return whether the content is at or below a store path, so that it lies below `store.root`.

    Other contents are files of the machine.
    """
    return content.startswith(f"{store_dir}/") and ".." not in content.split("/")


def rebase_file_names(spec: ImageSpec, directory: Path) -> ImageSpec:
    """Return `spec` with relative names of files counted from `directory`."""
    return _replace_file_names(spec, lambda name: str(directory / name))


def absolute_file_names(spec: ImageSpec) -> ImageSpec:
    """Return `spec` with absolute names of files, so that it works from any directory."""
    return _replace_file_names(spec, lambda name: str(Path(name).absolute()))


def _value(spec: ImageSpec, key: str) -> Any:
    value: Any = spec
    for part in key.split("."):
        value = getattr(value, part, None)
    return value


def _file_name(spec: ImageSpec, key: str) -> str:
    """Return the name of the file at `key`, empty if there is none."""
    value = _value(spec, key)
    # An inline pipeline is a list, not the name of a file.
    return value if isinstance(value, str) else ""


def _file_names(spec: ImageSpec, key: str) -> list[str]:
    """Return the names of the files at `key`, empty if there is no list."""
    value = _value(spec, key)
    return value if isinstance(value, list) else []


def _replaced(key: str, name: str, change: Callable[[str], str]) -> str:
    return _replace_in_location(key, name, change) if key in _LOCATION_KEYS else change(name)


def _replace_in_location(key: str, text: str, change: Callable[[str], str]) -> str:
    """Return the location with another name of its file, if it has one."""
    location = parse_location(text)
    if not isinstance(location, FileLocation):
        return text
    changed = replace(location, path=Path(change(str(location.path))))
    text = str(changed)
    if location.form is not None and parse_location(text) != changed:
        raise SpecError(
            f"{key}: {text} can't name an image, because there is a colon in the name of its"
            " directory",
            key=key,
            path=changed.path,
        )
    return text


def _replace_file_names(spec: ImageSpec, change: Callable[[str], str]) -> ImageSpec:
    changes: dict[str, Any] = {}
    changed_values: list[tuple[str, Any]] = [
        (key, _replaced(key, name, change)) for key in _FILE_KEYS if (name := _file_name(spec, key))
    ]
    changed_values += [
        (key, [_replaced(key, name, change) for name in names])
        for key in _FILE_LIST_KEYS
        if (names := _file_names(spec, key))
    ]
    for key, changed in changed_values:
        outer, _, inner = key.partition(".")
        if inner:
            # An object may hold several names, so continue with the one that was changed last.
            value = changes.get(outer, getattr(spec, outer))
            changes[outer] = msgspec.structs.replace(value, **{inner: changed})
        else:
            changes[outer] = changed
    return msgspec.structs.replace(spec, **changes)
