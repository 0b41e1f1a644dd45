"""What lists have in their rows, and in which order."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from nixdock.browse.explanation import explanation, why
from nixdock.browse.levels import (
    FileTarget,
    LayerTarget,
    Level,
    Order,
    PathTarget,
    all_paths,
    files_in,
    found_files,
    found_paths,
    layers_of,
    ordered,
    paths_in,
    references,
    referrers,
)
from nixdock.view.file_tree import ImpliedDirectories, file_tree

from .views import APP, FILES, LIBC, TLS, view


def names(level: Level) -> list[str]:
    return [row.name for row in level.rows]


def test_layers_come_as_they_lie() -> None:
    level = layers_of(view())
    assert names(level) == ["libc-2", "app-1.0 (app)", "the image's own files"]
    assert [row.target for row in level.rows] == [LayerTarget(n) for n in (1, 2, 3)]
    assert [(row.size, row.count, row.changed_by) for row in level.rows] == [
        (700, 2, 2),
        (25, 1, 3),
        (10, 0, None),
    ]
    assert [row.is_app for row in level.rows] == [False, True, False]


def test_lists_of_store_paths() -> None:
    image = view()
    assert names(paths_in(image, 1)) == ["libc-2", "tls-3.0"]
    assert names(all_paths(image)) == ["libc-2", "tls-3.0", "app-1.0 (app)"]
    assert names(found_paths(image, "TLS")) == ["tls-3.0"]
    # Also by the start of the hash, as other commands print it.
    assert names(found_paths(image, "ccccc")) == ["libc-2"]
    assert names(references(image, TLS)) == ["libc-2"]
    assert names(referrers(image, LIBC)) == ["tls-3.0"]
    assert [row.target for row in referrers(image, LIBC).rows] == [PathTarget(TLS, 1)]


@pytest.mark.parametrize(
    ("order", "is_reversed", "expected"),
    [
        (Order.POSITION, False, ["libc-2", "tls-3.0", "app-1.0 (app)"]),
        (Order.POSITION, True, ["app-1.0 (app)", "tls-3.0", "libc-2"]),
        (Order.SIZE, False, ["libc-2", "tls-3.0", "app-1.0 (app)"]),
        (Order.SIZE, True, ["app-1.0 (app)", "tls-3.0", "libc-2"]),
        (Order.ADDED, False, ["app-1.0 (app)", "libc-2", "tls-3.0"]),
        (Order.NAME, False, ["app-1.0 (app)", "libc-2", "tls-3.0"]),
        (Order.NAME, True, ["tls-3.0", "libc-2", "app-1.0 (app)"]),
    ],
)
def test_orders(order: Order, is_reversed: bool, expected: list[str]) -> None:
    assert names(ordered(all_paths(view()), order, is_reversed=is_reversed)) == expected


def test_what_is_not_known_comes_last() -> None:
    level = all_paths(view())
    rows = (replace(level.rows[0], size=None), *level.rows[1:])
    for is_reversed in (False, True):
        sizes = ordered(replace(level, rows=rows), Order.SIZE, is_reversed=is_reversed)
        assert names(sizes)[-1] == "libc-2"


def test_directories_have_the_sizes_of_what_is_in_them() -> None:
    tree = file_tree(FILES[1], ImpliedDirectories(1))
    level = files_in(tree, LIBC, 1)
    assert [(row.name, row.size, row.count) for row in level.rows] == [
        ("lib/", 900, 2),
        ("share/", 100, 2),
    ]
    assert level.rows[0].target == FileTarget(f"{LIBC}/lib", 1)
    inner = files_in(tree, f"{LIBC}/lib", 1)
    assert names(inner) == ["libc.so", "libc.so.6"]
    assert "to libc.so" in inner.rows[1].details
    # A store path may be a file.
    assert names(files_in(tree, TLS, 1)) == [TLS.rpartition("/")[2]]
    assert names(files_in(tree, "/nowhere", 1)) == []


def test_files_are_found_below_a_directory() -> None:
    tree = file_tree(FILES[1], ImpliedDirectories(1))
    assert names(found_files(tree, LIBC, 1, "LIBC.so")) == ["lib/libc.so", "lib/libc.so.6"]
    assert names(found_files(tree, f"{LIBC}/share", 1, "libc")) == []
    assert names(found_files(tree, "/nowhere", 1, "")) == []


def test_why_is_the_shortest_chain_from_the_app() -> None:
    texts = [line.text for line in why(view(), LIBC)]
    assert texts[2:5] == [
        "app-1.0 (app)  ffffff  30 B",
        "  └ tls-3.0  dddddd  50 B",
        "    └ libc-2  cccccc  1.0 kB",
    ]
    targets = [line.target for line in why(view(), LIBC) if line.target]
    assert targets == [PathTarget(APP, 2), PathTarget(TLS, 1), PathTarget(LIBC, 1)]


def test_why_is_not_known_without_references() -> None:
    image = view()
    layers = tuple(
        replace(layer, paths=tuple(replace(path, references=None) for path in layer.paths))
        for layer in image.layers
    )
    (first, second) = why(replace(image, layers=layers), LIBC)
    assert first.text == "Why libc-2 is in the image is not known:"
    assert "--graph" in second.text


def test_explanations() -> None:
    image = view()
    (first, *_) = layers_of(image).rows
    assert "size          700 B (700 bytes)" in [line.text for line in explanation(image, first)]
    tls = paths_in(image, 1).rows[1]
    texts = [line.text for line in explanation(image, tls)]
    assert texts[0] == TLS
    assert "closure       1.1 kB (1050 bytes)" in texts
    file = files_in(file_tree(FILES[1], ImpliedDirectories(1)), f"{LIBC}/lib", 1).rows[0]
    assert "file, mode 0555" in [line.text for line in explanation(image, file)]
