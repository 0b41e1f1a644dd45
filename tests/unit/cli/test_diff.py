"""`nixdock diff`: images, plans and graphs in any combination, for people and as JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nixdock.cli import main
from nixdock.cli.output import size_text
from nixdock.oci.layout import Format
from tests.unit.cli.program import run_text
from tests.unit.several_platforms import with_platforms

LIBC, SCRIPT, LINK, APP = (
    f"/nix/store/{letter * 32}-{name}"
    for letter, name in zip("abcd", ("libc", "script", "link", "app"), strict=True)
)
NEW_APP = f"/nix/store/{'f' * 32}-app"


def nixdock(*arguments: object, data: str = "") -> subprocess.CompletedProcess[str]:
    return run_text(*arguments, stdin=data)


def diff(*arguments: object) -> str:
    result = CliRunner().invoke(main, ["diff", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def document(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(diff(*arguments, "--json"))
    return found


def graph(file: Path, app: str) -> Path:
    """Write the graph of the sample spec, with another app."""
    sizes = {LIBC: 3_000_000, SCRIPT: 1000, LINK: 500, app: 20_000}
    references = {LIBC: [], SCRIPT: [LIBC], LINK: [LIBC], app: [LIBC, SCRIPT, LINK]}
    infos = [
        {"path": path, "narSize": size, "references": references[path]}
        for path, size in sizes.items()
    ]
    file.write_text(json.dumps(infos))
    return file


@pytest.fixture
def graphs(tmp_path: Path) -> tuple[Path, Path]:
    return graph(tmp_path / "old.json", APP), graph(tmp_path / "new.json", NEW_APP)


@pytest.fixture
def build(tmp_path: Path, sample_spec: Callable[..., Path]) -> Callable[..., Path]:
    """Give a function that builds the sample image in a format, with changes to its spec."""

    def run(name: str, form: Format = Format.ARCHIVE, **changes: object) -> Path:
        spec = sample_spec(tmp_path, **changes)
        target = tmp_path / name
        args = ["build", str(spec), "-q", "--format", form.value, "-o", str(target)]
        main.main(args, standalone_mode=False)
        return target

    return run


def plan(target: Path, source: Path, *options: str) -> Path:
    main.main(["plan", str(source), "-o", str(target), *options], standalone_mode=False)
    return target


def test_graphs_for_people(graphs: tuple[Path, Path]) -> None:
    old, new = graphs
    assert (
        diff(old, new, "--strategy", "popularity", "--max-layers", 3)
        == f"""\
an update moves 21.5 kB of 3.0 MB (0.71 %): app is rebuilt

old  {old}: graph, 2 layers, 3.0 MB
     {"░" * 59}·
new  {new}: graph, 2 layers, 3.0 MB
     {"░" * 59}█
     ░ kept 3.0 MB  █ new 21.5 kB  · gone 21.5 kB

1 package rebuilt: app

moves without need:
  2 of the 3 store paths of layer 2 (app), 1.5 kB: its layer also holds app, which is new, in \
place of another build

layer  status  what             size                            paths  why
    1  = kept  libc           3.0 MB  ░░░░░░░░░░░░░░░░░░░░░░░░      1
    2  + new   app +2 (app)  21.5 kB  ▏                             3  app is new, in place of \
another build

store paths: 1 new, 1 gone, 3 kept, 0 moved
registry, containerd, Podman: 21.5 kB in 1 of 2 layers
classic Docker: 21.5 kB in 1 of 2 layers
"""
    )


def plan_file(file: Path, layers: list[list[str]], size: int = 10) -> Path:
    """Write a plan whose layers all have the same size."""
    chosen = [{"paths": paths, "nar_size": size} for paths in layers]
    file.write_text(json.dumps({"version": 1, "layers": chosen}))
    return file


def rows_of(text: str) -> list[str]:
    """Return the rows of the table of layers."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("layer  status"))
    return lines[start + 1 : lines.index("", start)]


def test_adjacent_layers_that_are_kept_share_a_row(tmp_path: Path) -> None:
    layers = [[LIBC], [SCRIPT], [APP], [LINK]]
    one, two, three = (
        plan_file(tmp_path / f"{name}.plan.json", [layers[i] for i in order])
        for name, order in (("one", (0, 1, 2, 3)), ("two", (3, 0, 1)), ("three", (0, 1, 2)))
    )
    too = "classic Docker fetches it too"
    assert rows_of(diff(one, two)) == [
        f"    1  > moved  link     10 B  {'▒' * 12}                  1  from 4; {too}",
        f"  2-3  > moved  libc +1  20 B  {'▒' * 24}      2  from 1; {too}",
        f"       - gone   app      10 B  {'·' * 12}                  1  was layer 3",
    ]
    assert rows_of(diff(one, three)) == [
        f"  1-3  = kept  libc +2  30 B  {'░' * 24}      3",
        f"       - gone  link     10 B  {'·' * 8}                      1  was layer 4",
    ]
    assert rows_of(diff(one, two, "--sort", "name")) == [
        f"    2  > moved  libc    10 B  {'▒' * 24}      1  from 1; classic Docker fetches it too",
        f"    1  > moved  link    10 B  {'▒' * 24}      1  from 4; classic Docker fetches it too",
        f"    3  > moved  script  10 B  {'▒' * 24}      1  from 2; classic Docker fetches it too",
        f"       - gone   app     10 B  {'·' * 24}      1  was layer 3",
    ]
    assert rows_of(diff(one, two, "--top", 1))[1:] == ["and 2 more rows, 30 B"]


def test_three_reasons_are_shown(tmp_path: Path) -> None:
    old = plan_file(tmp_path / "old", [[LIBC]])
    new = plan_file(tmp_path / "new", [[LIBC, SCRIPT, LINK, APP, NEW_APP]])
    head, *rows = rows_of(diff(old, new))
    assert head.endswith("  5  script is new")
    assert [row.strip() for row in rows] == ["link is new", "app is new", "and 1 more"]


def test_what_moves_without_need(tmp_path: Path) -> None:
    old = plan_file(tmp_path / "old", [[LIBC, SCRIPT], [LINK], [APP]])
    new = plan_file(tmp_path / "new", [[LIBC], [SCRIPT, LINK], [NEW_APP]])
    text = diff(old, new)
    assert text.startswith("an update moves 30 B of 30 B (100 %): app is rebuilt\n")
    start = text.index("moves without need:")
    assert text[start : text.index("\n\n", start)].splitlines() == [
        "moves without need:",
        "  layer 1 (libc): its layer also held script, which is in layer 2 now",
        "  layer 2 (script): it was in layer 1",
    ]
    (first, second) = document(old, new)["view"]["needless"]
    assert (first["layer"], first["paths"], first["of"]) == (1, 1, 1)
    assert (second["layer"], second["paths"], second["of"]) == (2, 2, 2)


def test_the_store_paths_that_move(graphs: tuple[Path, Path]) -> None:
    text = diff(*graphs, "--strategy", "popularity", "--max-layers", 3, "--paths")
    rows = [line.replace("(app)", "").split()[:5] for line in text.splitlines()[1:]]
    assert rows == [
        ["=", "kept", "link", "cccccc", "2"],
        ["=", "kept", "script", "bbbbbb", "2"],
        ["+", "new", "app", "ffffff", "2"],
        ["-", "gone", "app", "dddddd", "2"],
    ]
    top = diff(*graphs, "--strategy", "popularity", "--max-layers", 3, "--paths", "--top", 2)
    assert [line.split()[2] for line in top.splitlines()[1:3]] == ["link", "script"]
    assert top.splitlines()[3:] == ["and 2 more store paths, 40.0 kB"]


def test_why_a_path_is_there(graphs: tuple[Path, Path]) -> None:
    options = ("--strategy", "popularity", "--max-layers", 3, "--why", "libc")
    assert (
        diff(*graphs, *options)
        == """\
app (app)  ffffff, layer 2, 20.0 kB
└─ libc  aaaaaa, layer 1, 3.0 MB

libc takes 3.0 MB, uncompressed, and 3.0 MB with what only it brings
3 store paths refer to it: app, link, script
"""
    )
    why = document(*graphs, *options)["why"]
    assert (why["chain"], why["added_size"]) == ([NEW_APP, LIBC], 3_000_000)
    refused = nixdock("diff", *graphs, "--why", "glibc")
    assert refused.returncode == 2
    assert "'glibc' is neither a store path nor the name of one" in refused.stderr


def test_images_by_digest(build: Callable[..., Path]) -> None:
    old = build("old.tar")
    new = build("new.tar", extra_commands="echo > new", config={"Cmd": ["/other"]})
    found = document(old, new)
    assert (found["compared_by"], found["size_of"]) == ("digest", "blob")
    assert [layer["status"] for layer in found["layers"]] == ["kept"] * 4 + ["new"]
    inspected = json.loads(nixdock("inspect", "--json", new).stdout)["images"][0]
    assert [layer["digest"] for layer in found["layers"]] == [
        layer["digest"] for layer in inspected["layers"]
    ]
    assert found["new"]["digest"] == inspected["digest"]
    transfer = found["transfers"]["registry"]
    assert transfer["layer_bytes"] == inspected["layers"][4]["size"]
    assert transfer["config_bytes"] > 0
    assert transfer["manifest_bytes"] > 0
    assert transfer["bytes"] == sum(v for k, v in transfer.items() if k.endswith("_bytes"))
    text = diff(old, new)
    line = r"    5  \+ new   the image's own files +[0-9.]+ k?B  [█▏▎▍▌▋▊▉]+ +0  different bytes\n"
    assert re.search(line, text)
    total, config, manifest = (
        size_text(transfer[key]) for key in ("bytes", "config_bytes", "manifest_bytes")
    )
    assert f"Podman: {total} in 1 of 5 layers, config {config}, manifest {manifest}\n" in text


@pytest.mark.parametrize("form", Format)
def test_an_image_is_the_same_in_every_format(build: Callable[..., Path], form: Format) -> None:
    found = document(build("old", Format.OCI_LAYOUT), build("new", form))
    by = "diff_id" if form is Format.DOCKER_ARCHIVE else "digest"
    assert found["compared_by"] == by
    assert {layer["status"] for layer in found["layers"]} == {"kept"}
    assert found["transfers"]["registry"]["bytes"] == 0


def test_an_image_equals_its_plan(
    build: Callable[..., Path], graphs: tuple[Path, Path], tmp_path: Path
) -> None:
    image = build("image.tar", max_layers=3)
    old, new = (
        plan(tmp_path / f"{file.name}.plan", file, "--strategy", "popularity", "--max-layers", "3")
        for file in graphs
    )
    for one, two in ((image, old), (old, image), (old, old)):
        found = document(one, two)
        assert found["compared_by"] == "store_paths"
        assert found["transfers"]["registry"]["layers"] == 0
        assert found["unplanned"] == ([3] if image in {one, two} else [])
    planned, whole = (
        document(image, new),
        document(image, graphs[1], "--strategy", "popularity", "--max-layers", "3"),
    )
    # A graph states references, which a plan file does not.
    assert planned["view"]["new"]["references_from"] is None
    assert whole["view"]["new"]["references_from"] == "the reference graph"
    same = {"new": planned["new"], "view": planned["view"]}
    assert planned == whole | same
    assert document(image, new)["transfers"]["registry"]["bytes"] == 21_500
    assert "left out: layers without store paths" in diff(image, new)


def test_a_graph_is_planned_on_the_previous_image(
    graphs: tuple[Path, Path], tmp_path: Path
) -> None:
    old, new = graphs
    # No strategy makes these layers without a previous plan.
    layers = [{"paths": [path], "nar_size": 1} for path in (LINK, SCRIPT, LIBC, APP)]
    previous = tmp_path / "old.plan.json"
    previous.write_text(json.dumps({"version": 1, "layers": layers}))
    assert document(previous, new)["transfers"]["docker"]["layers"] == 4
    found = document(previous, new, "--previous", previous)
    assert [layer["status"] for layer in found["layers"]] == ["kept", "kept", "kept", "new"]
    refused = nixdock("diff", old, new, "--previous", previous, "--strategy", "auto")
    assert refused.returncode == 2
    assert "--previous is for --strategy stable" in refused.stderr


def test_a_spec_continues_the_previous_images(
    graphs: tuple[Path, Path], tmp_path: Path, sample_spec: Callable[..., Path]
) -> None:
    spec = sample_spec(tmp_path, layering={"strategy": "stable"})
    halves = [[LIBC, APP], [SCRIPT, LINK]]
    plans = []
    for number, groups in enumerate([[[LIBC], [SCRIPT, LINK]], halves]):
        plans.append(tmp_path / f"{number}.plan.json")
        layers = [{"paths": group, "nar_size": 1} for group in groups]
        plans[-1].write_text(json.dumps({"version": 1, "layers": layers}))

    def found(*options: object) -> list[list[str]]:
        layers = document(graphs[0], spec, *options)["layers"]
        return [[path["path"] for path in layer["paths"]] for layer in layers if layer["paths"]]

    assert found("--previous", plans[1]) == halves != found()
    # Of several, the newest first.
    assert found("--previous", plans[0], "--previous", plans[1]) == [[LIBC], [SCRIPT, LINK], [APP]]
    command = f"{sys.executable} -m nixdock diff --json {graphs[0]} {spec} --previous"
    piped = subprocess.run(
        ["bash", "-c", f"{command} <(cat {plans[1]})"], capture_output=True, check=True
    )
    assert (
        json.loads(piped.stdout)["layers"]
        == (document(graphs[0], spec, "--previous", plans[1])["layers"])
    )


def test_options_that_are_of_no_use_are_errors(
    build: Callable[..., Path], tmp_path: Path, sample_spec: Callable[..., Path]
) -> None:
    image, spec = build("image.tar"), sample_spec(tmp_path)
    for option, value in (("--strategy", "stable"), ("--max-layers", 5)):
        refused = nixdock("diff", image, spec, option, value)
        assert refused.returncode == 2
        assert f"{option} is for a graph" in refused.stderr
    refused = nixdock("diff", image, image, "--previous", image)
    assert refused.returncode == 2
    assert "previous images are for a spec or graph, not for this image" in refused.stderr


def test_standard_input(graphs: tuple[Path, Path]) -> None:
    old, new = graphs
    piped = nixdock("diff", old, "-", "--json", data=new.read_text())
    assert not piped.stderr
    assert json.loads(piped.stdout)["layers"] == document(old, new)["layers"]
    twice = nixdock("diff", "-", "-")
    assert twice.returncode == 2
    assert "standard input can't be both" in twice.stderr


def test_a_pipe_is_read_once(graphs: tuple[Path, Path]) -> None:
    command = f"{sys.executable} -m nixdock diff --json {graphs[0]} <(cat {graphs[1]})"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert json.loads(done.stdout)["layers"] == document(*graphs)["layers"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "status"),
    [
        ("21500", 0),
        ("21499", 1),
        ("21.5kB", 0),
        ("21.4 KB", 1),
        ("0.0215MB", 0),
        ("20KiB", 1),
        ("21KiB", 0),
        ("1GiB", 0),
        ("0", 1),
    ],
)
def test_a_limit(graphs: tuple[Path, Path], size: str, status: int) -> None:
    options = ("--strategy", "popularity", "--max-layers", 3, "--fail-over", size)
    done = nixdock("diff", *graphs, *options)
    assert done.returncode == status
    assert "registry, containerd, Podman: 21.5 kB in 1 of 2 layers" in done.stdout
    if status:
        assert done.stderr.startswith(
            f"error: {graphs[1]}: max-update: an update from {graphs[0]} transfers 21.5 kB (21500"
            " bytes), more than "
        )
    else:
        assert not done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("size", ["", "-1", "many", "5m", "1e3", "5 parsecs", "1.MB", "\u0661"])
def test_an_invalid_size_is_an_error(graphs: tuple[Path, Path], size: str) -> None:
    done = nixdock("diff", *graphs, "--fail-over", size)
    assert done.returncode == 2
    assert "is not a size; expected a size like 50MB or 1GiB" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "[0]: expected an object"),
        ("{}", "no reference graph in it"),
        ('{"version": 2, "layers": []}', "the plan has format 2"),
        ('{"layers": []}', "not a plan"),
        ('{"version": 1, "layers": {}}', "not a plan"),
        (json.dumps({"version": 1, "layers": [{"paths": [APP]}]}), "layers[0].nar_size"),
        (
            json.dumps({"version": 1, "layers": [{"paths": [APP], "nar_size": -1}]}),
            "layers[0].nar_size: must be a number of bytes, not -1",
        ),
        (json.dumps({"version": 1, "layers": [{"paths": ["x"]}]}), "layers[0].paths[0]"),
        ("", "it is neither a directory nor a tar"),
        ("some text", "it is neither a directory nor a tar"),
        ("/nix/store", "line 2: expected a NAR hash"),
    ],
)
def test_an_invalid_side_is_an_error(
    graphs: tuple[Path, Path], tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "wrong"
    file.write_text(content)
    for sides in ((file, graphs[1]), (graphs[0], file)):
        done = nixdock("diff", *sides)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert str(file) in done.stderr
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert not done.stdout


def test_a_missing_side_is_an_error(graphs: tuple[Path, Path], tmp_path: Path) -> None:
    done = nixdock("diff", graphs[0], tmp_path / "none")
    assert done.returncode == 2
    assert done.stderr == f"error: can't read {tmp_path}/none: No such file or directory\n"
    piped = nixdock("diff", graphs[0], "-", data="an image")
    assert piped.returncode == 2
    assert piped.stderr == (
        "error: standard input is neither a plan nor a graph; an image must be given as a file\n"
    )


def test_a_damaged_image_is_an_error(build: Callable[..., Path]) -> None:
    image = build("image", Format.OCI_LAYOUT)
    largest = max((image / "blobs/sha256").iterdir(), key=lambda blob: blob.stat().st_size)
    os.truncate(largest, 1000)
    done = nixdock("diff", image, image)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")


def test_the_image_for_an_architecture(build: Callable[..., Path], tmp_path: Path) -> None:
    images = [build(arch, Format.OCI_LAYOUT, architecture=arch) for arch in ("amd64", "arm64")]
    several, digests = with_platforms(images, tmp_path / "several")
    assert document(several, several)["old"]["digest"] == digests[0]
    for architecture, image, expected in zip(("amd64", "arm64"), images, digests, strict=True):
        for option in (["--architecture", architecture], ["--platform", f"linux/{architecture}"]):
            found = document(several, image, *option)
            assert found["old"]["digest"] == expected
            assert found["transfers"]["registry"]["layers"] == 0
    done = nixdock("diff", several, several, "--architecture", "arm64", "--platform", "linux/arm64")
    assert done.returncode == 2
    assert "--platform and --architecture are mutually exclusive" in done.stderr


def test_the_hash_seed_makes_no_difference(graphs: tuple[Path, Path]) -> None:
    outputs = set()
    for seed in ("0", "1", "2"):
        command = [sys.executable, "-m", "nixdock", "diff", "--json", *map(str, graphs)]
        env = {**os.environ, "PYTHONHASHSEED": seed}
        outputs.add(subprocess.run(command, env=env, capture_output=True, check=True).stdout)
    assert len(outputs) == 1
