"""The lists that are browsed: what their rows are, in which order, and where they lead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from nixdock.system.text import counted, shown
from nixdock.view.chains import referrers_of

if TYPE_CHECKING:
    from nixdock.view.file_tree import FileNode
    from nixdock.view.model import ImageView, LayerView, PathView, Status

__all__ = [
    "FileTarget",
    "LayerTarget",
    "Level",
    "LevelKind",
    "Order",
    "PathTarget",
    "Row",
    "Target",
    "all_paths",
    "files_in",
    "found_files",
    "found_paths",
    "layer_at",
    "layers_of",
    "ordered",
    "paths_in",
    "references",
    "referrers",
]


class LevelKind(Enum):
    """What a list has in its rows."""

    LAYERS = "layers"
    PATHS = "paths"
    FILES = "files"


class Order(StrEnum):
    """What a list is sorted by; `POSITION` is the order in the image, and the others go down."""

    POSITION = "position"
    SIZE = "size"
    ADDED = "added size"
    NAME = "name"


class LayerTarget(Struct, frozen=True):
    """The layer with a number."""

    number: int


class PathTarget(Struct, frozen=True):
    """A store path, in the layer with a number."""

    path: str
    layer: int


class FileTarget(Struct, frozen=True):
    """A file or directory in the layer with a number."""

    path: str
    layer: int
    is_directory: bool = True


Target: TypeAlias = LayerTarget | PathTarget | FileTarget


class Row(Struct, frozen=True):
    """A row; `name` is safe to show, and the texts of `details` are, too, one for each line.

    `size` and `added` are in bytes; `count` is how many things are in it, and `changed_by` how many
    store paths change it. None is what is not known, or does not apply.
    """

    name: str
    target: Target
    size: int | None = None
    added: int | None = None
    count: int | None = None
    changed_by: int | None = None
    label: str = ""
    is_app: bool = False
    status: Status | None = None
    details: tuple[str, ...] = ()


class Level(Struct, frozen=True):
    """A list; `title` says what is in it, and `of` is the directory whose files it has."""

    kind: LevelKind
    title: str
    rows: tuple[Row, ...]
    of: FileTarget | None = None

    def index_of(self, target: Target) -> int | None:
        """Return the number of the row that leads to `target`, or None."""
        return next((i for i, row in enumerate(self.rows) if row.target == target), None)


def ordered(level: Level, order: Order, *, is_reversed: bool = False) -> Level:
    """Return the list in another order: what is not known comes last; names break ties."""
    rows = list(level.rows)
    match order:
        case Order.POSITION:
            if is_reversed:
                rows.reverse()
        case Order.NAME:
            rows.sort(key=lambda row: row.name, reverse=is_reversed)
        case Order.SIZE | Order.ADDED:
            sign = 1 if is_reversed else -1

            def key(row: Row) -> tuple[bool, int, str]:
                value = row.size if order is Order.SIZE else row.added
                return value is None, sign * (value or 0), row.name

            rows.sort(key=key)
    return replace(level, rows=tuple(rows))


def layer_at(view: ImageView, number: int) -> LayerView:
    """Return the layer with this number."""
    return next(layer for layer in view.layers if layer.number == number)


def layers_of(view: ImageView) -> Level:
    """Return the layers of an image, bottom to top."""
    return Level(LevelKind.LAYERS, "layers", tuple(map(_layer_row, view.layers)))


def paths_in(view: ImageView, number: int) -> Level:
    """Return the store paths of the layer with this number."""
    layer = layer_at(view, number)
    return _paths(f"layer {number}: {counted(len(layer.paths), 'store path')}", layer.paths)


def all_paths(view: ImageView) -> Level:
    """Return the store paths of all layers."""
    paths = tuple(view.paths())
    return _paths(f"all {counted(len(paths), 'store path')}", paths)


def found_paths(view: ImageView, text: str) -> Level:
    """Return the store paths that have `text` in their names or hashes, whatever its case."""
    wanted = text.lower()
    found = tuple(path for path in view.paths() if wanted in path.path.rpartition("/")[2].lower())
    return _paths(f"{counted(len(found), 'store path')} with {shown(text)}", found)


def references(view: ImageView, path: str) -> Level:
    """Return the store paths that `path` refers to."""
    by_path = {each.path: each for each in view.paths()}
    found = tuple(by_path[each] for each in by_path[path].references or () if each in by_path)
    return _paths(f"{by_path[path].name} refers to {counted(len(found), 'store path')}", found)


def referrers(view: ImageView, path: str) -> Level:
    """Return the store paths that refer to `path`."""
    found = referrers_of(view, path)
    name = path.rpartition("/")[2][33:]
    verb = "refers" if len(found) == 1 else "refer"
    return _paths(f"{counted(len(found), 'store path')} {verb} to {name}", found)


def files_in(tree: FileNode, directory: str, layer: int) -> Level:
    """Return what is in a directory of a layer, or the file itself if it is no directory."""
    node = tree.at(directory)
    nodes: Iterable[FileNode] = ()
    if node is not None:
        nodes = node.inside.values() if node.is_directory else [node]
    return Level(
        LevelKind.FILES,
        f"layer {layer}: {shown(directory)}",
        tuple(_file_row(each, layer, each.name) for each in nodes),
        FileTarget(directory, layer),
    )


def found_files(tree: FileNode, directory: str, layer: int, text: str) -> Level:
    """Return what has `text` in its name below a directory of a layer, whatever its case."""
    wanted = text.lower()
    node = tree.at(directory)
    found = [each for each in node.below() if wanted in each.name.lower()] if node else []
    prefix = directory.rstrip("/") + "/"
    return Level(
        LevelKind.FILES,
        f"layer {layer}: {counted(len(found), 'file')} with {shown(text)}",
        tuple(_file_row(each, layer, each.path.removeprefix(prefix)) for each in found),
    )


def _paths(title: str, paths: Sequence[PathView]) -> Level:
    return Level(LevelKind.PATHS, title, tuple(map(_path_row, paths)))


def _named(name: str, *, is_app: bool) -> str:
    return f"{shown(name)} (app)" if is_app else shown(name)


def _layer_row(layer: LayerView) -> Row:
    size = layer.size if layer.size is not None else layer.tar_size
    details = [shown(layer.comment or layer.created_by or layer.kind)]
    if layer.status is not None:
        details.append(_status_text("layer", layer.status, layer.other_layer))
        details.extend(map(shown, layer.changes))
    elif layer.changed_by is not None:
        details.append(f"changes with any of {counted(layer.changed_by, 'store path')}")
    return Row(
        _named(layer.title, is_app=layer.has_app),
        LayerTarget(layer.number),
        size,
        count=len(layer.paths),
        changed_by=layer.changed_by,
        label=str(layer.number),
        is_app=layer.has_app,
        status=layer.status,
        details=tuple(details),
    )


def _path_row(path: PathView) -> Row:
    details = [shown(path.path, len(path.path))]
    if path.status is not None:
        details.append(_status_text("store path", path.status, path.other_layer))
    if path.replaces:
        details.append(f"in place of {shown(path.replaces)}")
    if path.reason:
        details.append(shown(path.reason))
    if path.status is None:
        details.append(f"in layer {path.layer}")
    return Row(
        _named(path.name, is_app=path.is_app),
        PathTarget(path.path, path.layer),
        path.size,
        path.added_size,
        label=path.short_hash,
        is_app=path.is_app,
        status=path.status,
        details=tuple(details),
    )


def _status_text(what: str, status: Status, other: int | None) -> str:
    if other is None:
        return f"{status} {what}"
    return f"{status} {what}; layer {other} of the other image"


def _file_row(node: FileNode, layer: int, name: str) -> Row:
    file = node.file
    details = [shown(node.path, len(node.path))]
    if file is not None:
        details.append(f"{file.kind}, mode {file.mode:04o}")
        if file.target is not None:
            details.append(f"to {shown(file.target)}")
    is_directory = node.is_directory
    return Row(
        shown(name) + ("/" if is_directory else ""),
        FileTarget(node.path, layer, is_directory),
        node.size,
        count=node.items - 1 if is_directory else None,
        details=tuple(details),
    )
