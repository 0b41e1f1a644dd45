"""The tree of `nixdock inspect --tree`."""

from __future__ import annotations

import time

from msgspec.structs import replace

from nixdock.cli.screen import PLAIN
from nixdock.cli.tree_lines import tree_lines
from nixdock.view.model import FileView, PathView
from tests.unit.browse.views import FILES, view


def test_directories_deeper_than_the_stack() -> None:
    """A hostile image has them; they are shown as any other."""
    layer = replace(view().layers[2], files=(FileView("/d" * 3000, "file", 7),))
    lines = [*tree_lines(replace(view(), layers=(layer,)), PLAIN)]
    assert len(lines) == 3001
    assert lines[0].endswith("the image's own files")
    assert lines[1] == "      7 B  └── d/"
    assert lines[-1].endswith("└── d")
    assert max(map(len, lines)) < 300


def test_the_largest_first_and_no_more_than_asked_for() -> None:
    layer = replace(view().layers[0], files=tuple(FILES[1]))
    lines = [*tree_lines(replace(view(), layers=(layer,)), PLAIN, "size", top=1)]
    assert lines == [
        "    700 B  layer 1: libc-2 +1",
        "   1.0 kB  ├── cccccc libc-2",
        "    900 B  │   ├── lib/",
        "    900 B  │   │   ├── libc.so",
        "           │   │   └── and 1 more, 0 B",
        "           │   └── and 1 more, 100 B",
        "           └── and 1 more, 50 B",
    ]


def test_many_store_paths_take_little_time() -> None:
    """Each file is looked for above store paths once, not above each of them."""
    names = [f"/nix/store/{i:032}-p" for i in range(5000)]
    files = ["/", "/nix", "/nix/store", "/nix/store2", *(f"/{i}" for i in range(5000)), *names]
    layer = replace(
        view().layers[0],
        paths=tuple(PathView(name, 1) for name in names),
        files=tuple(FileView(name, "directory") for name in files),
    )
    start = time.process_time()
    lines = [*tree_lines(replace(view(), layers=(layer,)), PLAIN)]
    assert time.process_time() - start < 2
    # Directories above store paths are not shown; others beside them are.
    assert len(lines) == 1 + 5000 + 5000 + 2
