"""Tables: alignment, and cutting to the width of a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from nixdock.cli.table import Column, name_and_hash, table_lines
from tests.unit.cli.program import environment

COLUMNS = (Column("n", right=True), Column("contents", flexible=True), Column("hash"))
ROWS = [("1", "a-rather-long-name-1.0", "abcdef"), ("12", "short", ""), ("", "c", "ghijkl")]


def test_columns_are_aligned() -> None:
    assert [*table_lines(COLUMNS, ROWS, None)] == [
        " n  contents                hash",
        " 1  a-rather-long-name-1.0  abcdef",
        "12  short",
        "    c                       ghijkl",
    ]


@pytest.mark.parametrize("width", [200, 34])
def test_what_fits_is_not_cut(width: int) -> None:
    assert [*table_lines(COLUMNS, ROWS, width)] == [*table_lines(COLUMNS, ROWS, None)]


def test_flexible_columns_are_cut_first() -> None:
    assert [*table_lines(COLUMNS, ROWS, 26)] == [
        " n  contents        hash",
        " 1  a-rather-lo...  abcdef",
        "12  short",
        "    c               ghijkl",
    ]


@pytest.mark.parametrize("width", range(1, 24))
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert all(len(line) <= width for line in table_lines(COLUMNS, ROWS, width))


def test_the_widest_column_is_cut_first() -> None:
    columns = (Column("a", flexible=True), Column("b", flexible=True))
    assert [*table_lines(columns, [("x" * 30, "y" * 20)], 40)][1] == f"{'x' * 16}...  {'y' * 16}..."


def test_the_name_of_a_store_path_comes_first() -> None:
    assert name_and_hash(f"/nix/store/{'d' * 32}-app-1.0") == ("app-1.0", "dddddd")


def test_only_a_terminal_cuts(tmp_path: Path) -> None:
    path = f"/nix/store/{'a' * 32}-{'long-' * 20}name"
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps([{"path": path, "narSize": 1, "references": []}]))
    command = [sys.executable, "-m", "nixdock", "plan", str(graph)]
    env = environment(COLUMNS="60")
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert f"{path[44:]}  aaaaaa\n" in done.stdout
    ours, theirs = pty.openpty()
    subprocess.run(command, env=env, stdout=theirs, check=True)
    os.close(theirs)
    text = b""
    with suppress(OSError):
        while chunk := os.read(ours, 4096):
            text += chunk
    os.close(ours)
    lines = text.decode().splitlines()
    assert [len(line) for line in lines] == [58, 60]
    assert lines[1].endswith("...  aaaaaa")
