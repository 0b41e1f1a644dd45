"""What `make bench` measures by default."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import __main__ as bench
from tests.bench.closure import Closure
from tests.bench.synthetic import Shape


@pytest.mark.nix
def test_the_real_closure_is_the_default(tmp_path: Path) -> None:
    closure, settings = chosen("--cache", str(tmp_path))
    assert closure.root == ""
    trees = closure.trees
    assert len(trees) == len(closure.infos) == settings["paths"]
    assert all(tree.exists() or tree.is_symlink() for tree in trees)
    assert int(str(settings["bytes"])) > 800_000_000
    assert chosen("--cache", str(tmp_path))[1] == settings


@pytest.mark.parametrize("arguments", [["--made-up"], []])
def test_a_made_up_closure(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Shape] = []
    closure = Closure(tmp_path / "graph.json", str(tmp_path))

    def make(shape: Shape, _cache: Path) -> Closure:
        made.append(shape)
        return closure

    monkeypatch.setattr(bench, "synthetic_closure", make)
    monkeypatch.setattr(bench, "can_build_science", lambda: bool(arguments))
    assert chosen(*arguments) == (
        closure,
        {"paths": 200, "files": 38_000, "bytes": 1_020_000_000},
    )
    assert chosen("--bytes", "3MB")[1]["bytes"] == 3_000_000
    assert len(made) == 2


def chosen(*arguments: str) -> tuple[Closure, dict[str, object]]:
    return bench.closure_of(bench.bench_parser().parse_args(arguments))
