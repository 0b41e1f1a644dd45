"""The picture of recorded figures."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from .closure import Closure
from .figure import Figure, ratio_figure
from .measure import Ratio, Series
from .peers import peer_figures
from .picture import PICTURE, RECORD, drawn, main
from .record import Run, last_run, last_values, save_figures
from .synthetic import Shape, synthetic_closure

SVG = "{http://www.w3.org/2000/svg}"
SETTINGS = {"paths": 200, "files": 38_000, "bytes": 1_020_000_000}
MACHINE = {"architecture": "x86_64", "cores": 2, "python": "3.11.2"}
FIGURES = [
    ratio_figure("skopeo / pull", Ratio(Series((4.0, 6.0)), Series((2.0, 2.0))), least=1),
    ratio_figure("skopeo / push, cold, gzip", Ratio(Series((1.0,)), Series((20.0,)))),
    ratio_figure("build --dry-run / SHA-256 alone", Ratio(Series((1.0,)), Series((2.0,)))),
    Figure("docker load / load, app changed", "an earlier record has no times", 3.0),
    Figure("nix2container", "not measured"),
]


def recorded(file: Path) -> Run:
    save_figures(file, SETTINGS, MACHINE, FIGURES)
    run = last_run(file)
    assert run is not None
    return run


def test_a_picture_of_a_record(tmp_path: Path) -> None:
    run = recorded(tmp_path / "bench.json")
    text = drawn(run)
    root = ET.fromstring(text)
    assert (root.tag, root.get("role")) == (f"{SVG}svg", "img")
    # Who does not see it hears all of it.
    by_id = {each.get("id"): each.text for each in root if each.get("id")}
    assert (root.get("aria-labelledby") or "").split() == [*by_id] == ["title", "desc"]
    assert by_id["desc"] == (
        "Push everything, with gzip: nixdock 20.0 s, skopeo 1.00 s. Pull the image: nixdock 2.00 s,"
        " skopeo 5.00 s. Measured with 1,020 MB in 200 store paths; 2 cores (x86_64); median times,"
        " measured in turn."
    )
    assert "prefers-color-scheme: dark" in text
    bars = [each for each in root.iter(f"{SVG}rect") if each.get("class") in {"own", "other"}]
    own, other = (
        [float(each.get("width", "")) for each in bars if each.get("class") == kind]
        for kind in ("own", "other")
    )
    assert [a / b for a, b in zip(own, other, strict=True)] == pytest.approx([20, 0.4], rel=0.01)
    # Nothing is outside.
    width, height = (float(root.get(key, "")) for key in ("width", "height"))
    for each in root.iter():
        right = float(each.get("x", "0")) + float(each.get("width", "0")) * (each is not root)
        assert right <= width
        assert float(each.get("y", "0")) <= height
    # Nor is anything fetched.
    assert re.findall(r"https?://[^\"]*", text) == [SVG.strip("{}")]


def test_the_same_record_gives_the_same_picture(tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("a.svg", "b.svg"))
    record = tmp_path / "bench.json"
    recorded(record)
    for target in (first, second):
        assert main([str(record), "-o", str(target)]) == 0
    assert first.read_bytes() == second.read_bytes()


def test_names_are_escaped(tmp_path: Path) -> None:
    run = recorded(tmp_path / "bench.json")
    other = Run(run.settings, {**run.machine, "architecture": "<&>"}, run.figures)
    assert "&lt;&amp;&gt;" in drawn(other)
    ET.fromstring(drawn(other))


def test_there_may_be_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has no figures; `make bench-picture` measures them"):
        main([str(tmp_path / "none.json")])
    with pytest.raises(SystemExit, match="no other program was measured"):
        drawn(Run(SETTINGS, MACHINE, {}))


def test_the_picture_in_the_documentation_is_that_of_its_record() -> None:
    """Both are made by `make bench-picture`, on a quiet machine."""
    assert RECORD.exists() is PICTURE.exists()
    if RECORD.exists():
        run = last_run(RECORD)
        assert run is not None
        assert PICTURE.read_text() == drawn(run)


def test_runs_are_recorded_beside_each_other(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    recorded(file)
    small = {**SETTINGS, "paths": 20}
    save_figures(file, small, MACHINE, [Figure("a", "1 s", 1.0)])
    assert last_values(file, small) == {"a": 1.0}
    assert last_values(file, SETTINGS)["skopeo / pull"] == 2.5
    save_figures(file, SETTINGS, MACHINE, [Figure("a", "2 s", 2.0)])
    assert last_values(file, SETTINGS) == {"a": 2.0}
    assert last_values(file, small) == {"a": 1.0}
    run = last_run(file)
    assert run is not None
    assert run.settings == SETTINGS
    file.write_text('{"settings": {}, "figures": {}}')
    assert last_values(file, {}) == {}


@pytest.fixture
def closure(tmp_path: Path) -> Closure:
    return synthetic_closure(Shape(paths=10, files=40, size=200_000, depth=3), tmp_path)


def install(directory: Path, script: str) -> None:
    directory.mkdir()
    program = directory / "nix2container"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_nix2container_is_measured_if_it_is_there(
    closure: Closure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dry_run = [sys.executable, "-c", ""]
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    (figure,) = peer_figures(closure, tmp_path, 1, dry_run)
    assert (figure.value, figure.measured) == (
        None,
        "not measured: nix2container is not in PATH",
    )
    fake = Path(__file__).with_name("fake_nix2container.py")
    install(tmp_path / "bin", f'exec {shlex.join([sys.executable, str(fake)])} "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.defpath}")
    (figure,) = peer_figures(closure, tmp_path, 2, dry_run)
    assert figure.name == "nix2container / build --dry-run"
    assert figure.seconds is not None
    assert figure.value == figure.seconds[0] / figure.seconds[1] > 0


def test_a_peer_that_does_less_is_not_compared(
    closure: Closure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", """echo '[{"digest": "", "paths": []}]' >"$2\"""")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.defpath}")
    with pytest.raises(SystemExit, match="has not made layers of all store paths"):
        list(peer_figures(closure, tmp_path, 1, [sys.executable, "-c", ""]))
