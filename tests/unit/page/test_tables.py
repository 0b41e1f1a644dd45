"""Tables name what the other renderings name, in the same words."""

from __future__ import annotations

import re

from msgspec.structs import replace

from nixdock.cli.layer_lines import changes_with
from nixdock.page.layer_table import layer_table
from nixdock.page.path_table import path_table
from nixdock.page.references import references_of

from .sample_views import plan_view


def columns(table: str) -> list[str]:
    return re.findall(r'data-key="([^"]*)"', table)


def test_layers_change_with_what_the_terminal_says() -> None:
    view = plan_view()
    table = layer_table("", view.layers)
    count = sum(1 for _ in view.paths())
    cells = [row.split("</td>")[-2].rpartition(">")[2] for row in table.split("<tr id=")[1:]]
    assert cells == [changes_with(layer, count) for layer in view.layers]


def test_columns_that_would_be_empty_are_left_out() -> None:
    view = plan_view()
    layers = tuple(
        replace(
            layer,
            changed_by=None,
            paths=tuple(
                replace(path, size=None, added_size=None, closure_size=None, references=None)
                for path in layer.paths
            ),
        )
        for layer in view.layers
    )
    bare = replace(view, layers=layers)
    assert columns(layer_table("", view.layers)) == [
        "number", "title", "size", "share", "paths", "changed-by",
    ]  # fmt: skip
    assert columns(layer_table("", bare.layers)) == ["number", "title", "size", "share", "paths"]
    assert columns(path_table("", view, references_of(view, "p"))) == [
        "title", "size", "layer", "added", "closure", "below", "above", "through",
    ]  # fmt: skip
    assert columns(path_table("", bare, references_of(bare, "p"))) == ["title", "layer"]
