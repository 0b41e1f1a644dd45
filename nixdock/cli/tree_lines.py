"""The layers of an image as a tree: layers, store paths, directories and files, with sizes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from nixdock.cli.layer_lines import known_size, layer_cell, more_text
from nixdock.cli.output import size_text
from nixdock.cli.path_lines import path_cell
from nixdock.cli.screen import Screen, cut_text
from nixdock.cli.table import Cell
from nixdock.system.text import shown
from nixdock.view.file_tree import FileNode, ImpliedDirectories, file_tree
from nixdock.view.order import sorted_layers

if TYPE_CHECKING:
    from nixdock.view import FileView, ImageView, LayerView

__all__ = ["tree_lines"]

_SIZE: Final = 9
# What is deeper is not indented further: each path of a hostile image would take megabytes.
_WIDEST_LEAD: Final = 4 * 64


class _Branch(Struct, frozen=True):
    """A line of the tree; `size` orders it among its neighbours.

    Below it are `branches`, and branches of `nodes`, which are made when they are shown: nothing
    here is recursive, since directories may be deeper than Python's stack.
    """

    label: Cell
    size_text: str
    size: int
    branches: tuple[_Branch, ...] = ()
    nodes: tuple[FileNode, ...] = ()

    @property
    def below(self) -> list[_Branch]:
        return [*self.branches, *map(_branch, self.nodes)]


def tree_lines(
    view: ImageView, screen: Screen, order: str = "layer", top: int | None = None
) -> Iterator[str]:
    """Yield the tree of a view with files; in each directory, at most `top` entries.

    With the order `size`, the largest entries come first, else they are in the order of names.
    Raise ImageError if a layer has too many directories.
    """
    for layer in sorted_layers(view, order):
        branch = _layer(layer)
        yield _line(branch, "", screen)
        yield from _lines_below(branch, screen, by_size=order == "size", top=top)


def _lines_below(root: _Branch, screen: Screen, *, by_size: bool, top: int | None) -> Iterator[str]:
    lines = ("├── ", "│   ", "└── ") if screen.has_blocks else ("|-- ", "|   ", "`-- ")
    # What is still to be shown, the next one last, each with the lead of its neighbours.
    waiting: list[tuple[_Branch, str, bool]] = []

    def add(branches: list[_Branch], lead: str) -> None:
        chosen = _chosen(branches, by_size=by_size, top=top)
        last = len(chosen) - 1
        waiting.extend((chosen[i], lead, i == last) for i in range(last, -1, -1))

    add(root.below, "")
    while waiting:
        branch, lead, is_last = waiting.pop()
        yield _line(branch, lead + (lines[2] if is_last else lines[0]), screen)
        if len(lead) < _WIDEST_LEAD:
            lead += "    " if is_last else lines[1]
        add(branch.below, lead)


def _chosen(branches: list[_Branch], *, by_size: bool, top: int | None) -> list[_Branch]:
    """Return the branches that are shown, in their order; the last one tells of others."""
    if by_size:
        branches = sorted(branches, key=lambda branch: -branch.size)
    left_out = branches[len(branches) if top is None else top :]
    if not left_out:
        return branches
    more = _Branch(Cell(more_text([each.size for each in left_out])), "", 0)
    return [*branches[: len(branches) - len(left_out)], more]


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
    implied = ImpliedDirectories(layer.number)
    branches = []
    for path in layer.paths:
        node = file_tree(files_of[path.path], implied).at(path.path)
        cell = path_cell(path)
        label = Cell(f"{path.short_hash} {cell.text}", cell.style, cell.tail)
        size = path.size or (node.size if node else 0)
        nodes = tuple(node.children) if node else ()
        branches.append(_Branch(label, known_size(path.size), size, nodes=nodes))
    branches += map(_branch, file_tree(others, implied).children)
    cell = layer_cell(layer)
    label = Cell(f"layer {layer.number}: {cell.text}", cell.style, cell.tail)
    return _Branch(label, known_size(layer.size), layer.size or 0, tuple(branches))


def _divided(layer: LayerView) -> tuple[dict[str, list[FileView]], list[FileView]]:
    """Return the files of each store path, and all others but directories above store paths."""
    files_of: dict[str, list[FileView]] = defaultdict(list)
    others: list[FileView] = []
    names = {path.path for path in layer.paths}
    # A layer may have as many store paths as files.
    above = {name[:end] for name in names for end, character in enumerate(name) if character == "/"}
    depth = next((name.count("/") for name in names), 0)
    for file in layer.files or ():
        parts = file.path.split("/", depth + 1)
        name = "/".join(parts[: depth + 1])
        if name in names:
            files_of[name].append(file)
        elif file.path.rstrip("/") not in above:
            others.append(file)
    return files_of, others


def _branch(node: FileNode) -> _Branch:
    name = shown(node.name)
    if node.is_directory:
        name += "/"
    elif node.target is not None:
        name += f" -> {shown(node.target)}"
    elif node.kind != "file":
        name += f" ({node.kind})"
    size = "" if node.target is not None else size_text(node.size)
    return _Branch(Cell(name), size, node.size, nodes=tuple(node.children))
