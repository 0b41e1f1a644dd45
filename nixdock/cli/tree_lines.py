"""The layers of an image as a tree: layers, store paths, directories and files, with sizes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nixdock.cli.layer_lines import known_size, layer_cell, more_text
from nixdock.cli.output import size_text
from nixdock.cli.path_lines import path_cell
from nixdock.cli.screen import Screen, cut_text
from nixdock.cli.table import Cell
from nixdock.system.text import shown
from nixdock.view.file_tree import FileNode, file_tree
from nixdock.view.order import sorted_layers

if TYPE_CHECKING:
    from nixdock.view import FileView, ImageView, LayerView

__all__ = ["tree_lines"]

_SIZE: Final = 9


@dataclass(frozen=True, slots=True)
class _Branch:
    """A line of the tree, and those below it; `size` orders it among its neighbours."""

    label: Cell
    size_text: str
    size: int
    below: tuple[_Branch, ...] = ()


def tree_lines(
    view: ImageView, screen: Screen, order: str = "layer", top: int | None = None
) -> Iterator[str]:
    """Yield the tree of a view with files; in each directory, at most `top` entries.

    With the order `size`, the largest entries come first, else they are in the order of names.
    """
    for layer in sorted_layers(view, order):
        branch = _layer(layer)
        yield _line(branch, "", screen)
        yield from _below(branch.below, "", screen, by_size=order == "size", top=top)


def _below(
    branches: Sequence[_Branch], lead: str, screen: Screen, *, by_size: bool, top: int | None
) -> Iterator[str]:
    if by_size:
        branches = sorted(branches, key=lambda branch: -branch.size)
    left_out = branches[len(branches) if top is None else top :]
    branches = branches[: len(branches) - len(left_out)]
    if left_out:
        text = more_text([each.size for each in left_out])
        branches = [*branches, _Branch(Cell(text), "", 0)]
    lines = ("├── ", "│   ", "└── ") if screen.has_blocks else ("|-- ", "|   ", "`-- ")
    for number, branch in enumerate(branches, 1):
        is_last = number == len(branches)
        yield _line(branch, lead + (lines[2] if is_last else lines[0]), screen)
        deeper = lead + ("    " if is_last else lines[1])
        yield from _below(branch.below, deeper, screen, by_size=by_size, top=top)


def _line(branch: _Branch, lead: str, screen: Screen) -> str:
    start = f"{branch.size_text:>{_SIZE}}  {lead}"
    label = branch.label
    text = label.text + label.tail
    if screen.width is not None:
        start = start[: screen.width]
        text = cut_text(text, screen.width - len(start))
    return (start + screen.painted(text, label.style)).rstrip()


def _layer(layer: LayerView) -> _Branch:
    files_of, others = _divided(layer)
    branches = []
    for path in layer.paths:
        node = file_tree(files_of[path.path], path.path)
        cell = path_cell(path)
        label = Cell(f"{path.short_hash} {cell.text}", cell.style, cell.tail)
        size = path.size or node.size
        below = tuple(map(_branch, node.children))
        branches.append(_Branch(label, known_size(path.size), size, below))
    branches += map(_branch, file_tree(others).children)
    cell = layer_cell(layer)
    label = Cell(f"layer {layer.number}: {cell.text}", cell.style, cell.tail)
    return _Branch(label, known_size(layer.size), layer.size or 0, tuple(branches))


def _divided(layer: LayerView) -> tuple[dict[str, list[FileView]], list[FileView]]:
    """Return the files of each store path, and all others but directories above store paths."""
    files_of: dict[str, list[FileView]] = defaultdict(list)
    others: list[FileView] = []
    names = {path.path for path in layer.paths}
    depth = next((name.count("/") for name in names), 0)
    for file in layer.files or ():
        parts = file.path.split("/", depth + 1)
        name = "/".join(parts[: depth + 1])
        if name in names:
            files_of[name].append(file)
        elif not any(each.startswith(f"{file.path.rstrip('/')}/") for each in names):
            others.append(file)
    return files_of, others


def _branch(node: FileNode) -> _Branch:
    name = shown(node.name)
    if node.kind == "directory":
        name += "/"
    elif node.target is not None:
        name += f" -> {shown(node.target)}"
    elif node.kind != "file":
        name += f" ({node.kind})"
    size = "" if node.target is not None else size_text(node.size)
    return _Branch(Cell(name), size, node.size, tuple(map(_branch, node.children)))
