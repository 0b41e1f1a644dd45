"""The table of an image's layers and their store paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from nixdock.cli.output import size_text
from nixdock.cli.table import Column, name_and_hash, table_lines, terminal_width
from nixdock.system.text import shown

if TYPE_CHECKING:
    from nixdock.read.report import LayerReport

__all__ = ["layer_table"]

_COLUMNS: Final = (
    Column("layer", right=True),
    Column("size", right=True),
    Column("paths", right=True),
    Column("contents", flexible=True),
    Column("hash"),
    Column("digest"),
)
_DIGITS: Final = 12


def layer_table(layers: Iterable[LayerReport]) -> Iterator[str]:
    """Yield a table of `layers`, bottom to top, with a line for each store path.

    Digests are the first digits of those of the layers, without the algorithm.
    """
    rows = [row for number, layer in enumerate(layers, 1) for row in _rows(number, layer)]
    return table_lines(_COLUMNS, rows, terminal_width())


def _rows(number: int, layer: LayerReport) -> Iterator[tuple[str, ...]]:
    contents = [name_and_hash(path) for path in layer.store_paths]
    first, *others = contents or [(layer.comment or layer.created_by, "")]
    digest = layer.digest.partition(":")[2][:_DIGITS]
    count = str(len(contents)) if layer.read else ""
    size = "" if layer.size is None else size_text(layer.size)
    yield (str(number), size, count, shown(first[0]), first[1], digest)
    yield from (("", "", "", shown(name), short_hash, "") for name, short_hash in others)
