"""`--html`: pages from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .program import environment, run, run_text


def embedded(page: bytes) -> Any:
    (data,) = re.findall(rb'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(data)


@pytest.fixture
def commands(
    tmp_path: Path, sample_spec: Callable[..., Path], sample_image: Callable[..., Path]
) -> dict[str, list[Path | str]]:
    """Return the arguments of a command of each kind."""
    sample_spec(tmp_path)
    images = [sample_image(tmp_path / f"{tag}.tar", tag=tag) for tag in ("v1", "v2")]
    return {
        "inspect": ["inspect", "-q", images[1]],
        "plan": ["plan", tmp_path / "graph.json"],
        "diff": ["diff", *images],
    }


@pytest.mark.parametrize("name", ["inspect", "plan", "diff"])
def test_a_page_has_what_the_command_prints_as_json(
    name: str, commands: dict[str, list[Path | str]], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    text = run_text(*commands[name], "--html", page).stdout
    # What is printed is printed all the same.
    assert text == run_text(*commands[name]).stdout
    assert embedded(page.read_bytes()) == json.loads(run_text(*commands[name], "--json").stdout)


@pytest.mark.parametrize("name", ["inspect", "plan", "diff"])
def test_pages_are_the_same_everywhere(name: str, commands: dict[str, list[Path | str]]) -> None:
    one, other = (
        run(*commands[name], "--html", "-", env=environment(PYTHONHASHSEED=seed, TZ=zone)).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    )
    assert one.startswith(b"<!DOCTYPE html>\n")
    assert one.endswith(b"</html>\n")
    assert one == other


def test_layers_that_a_plan_lacks_are_left_out(
    commands: dict[str, list[Path | str]], tmp_path: Path
) -> None:
    old, graph = commands["diff"][1], commands["plan"][1]
    for sides in ([old, graph], [graph, old]):
        page = run_text("diff", *sides, "--html", "-").stdout
        assert "left out</b>" in page or 'href="#old5"' in page
        keys = {*re.findall(r'\sid="([^"]*)"', page)}
        assert {*re.findall(r'href="#([\w-]*)"', page)} <= keys


def test_what_is_not_known_is_not_drawn(sample_spec: Callable[..., Path], tmp_path: Path) -> None:
    spec = sample_spec(tmp_path)
    page = run_text("inspect", "-q", "--quick", "--no-cache", spec, "--html", "-").stdout
    assert "<h1>" in page
    assert 'class="bar"' not in page
    assert 'class="treemap"' not in page
    assert page.count('<tr id="layer') == len(embedded(page.encode())["images"][0]["layers"])


def test_one_output_takes_one_thing(commands: dict[str, list[Path | str]], tmp_path: Path) -> None:
    for options in (
        ["--html", "-", "--json"],
        ["--html", "-", "--format", "markdown"],
        ["--html", tmp_path / "page.html", "--compare"],
        ["--html", tmp_path / "page.html", "-o", tmp_path / "plan.json"],
    ):
        result = run(*commands["plan"], *options)
        assert result.returncode == 2
        assert b"--html" in result.stderr or b"only --json" in result.stderr
        assert not (tmp_path / "page.html").exists()
