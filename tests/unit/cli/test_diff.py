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
old  {old}: graph, 2 layers, 3.0 MB
new  {new}: graph, 2 layers, 3.0 MB

layer  status     size  paths  contents  why
    1  kept     3.0 MB      1  libc
    2  new     21.5 kB      3  app +2    app is new, in place of another build

store paths: 1 new, 1 gone, 3 kept, 0 moved
registry, containerd, Podman: 21.5 kB in 1 of 2 layers
classic Docker: 21.5 kB in 1 of 2 layers
"""
    )


def test_adjacent_layers_that_are_kept_share_a_row(tmp_path: Path) -> None:
    layers = [[LIBC], [SCRIPT], [APP], [LINK]]
    names = []
    for name, order in (("one", (0, 1, 2, 3)), ("two", (3, 0, 1)), ("three", (0, 1, 2))):
        file = tmp_path / f"{name}.plan.json"
        chosen = [{"paths": layers[i], "nar_size": 10} for i in order]
        file.write_text(json.dumps({"version": 1, "layers": chosen}))
        names.append(file)
    one, two, three = names
    rows = diff(one, two).splitlines()[4:8]
    assert rows == [
        "    1  moved   10 B      1  link      from 4; classic Docker fetches it too",
        "  2-3  moved   20 B      2  libc +1   from 1; classic Docker fetches it too",
        "       gone    10 B      1  app       was layer 3",
        "",
    ]
    assert diff(one, three).splitlines()[4:6] == [
        "  1-3  kept    30 B      3  libc +2",
        "       gone    10 B      1  link      was layer 4",
    ]


def test_three_reasons_are_shown(tmp_path: Path) -> None:
    files = []
    for name, paths in (("old", [LIBC]), ("new", [LIBC, SCRIPT, LINK, APP, NEW_APP])):
        files.append(tmp_path / name)
        layers = [{"paths": paths, "nar_size": 10}]
        files[-1].write_text(json.dumps({"version": 1, "layers": layers}))
    assert diff(*files).splitlines()[4:8] == [
        "    1  new     10 B      5  script +4  script is new",
        f"{'':39}link is new",
        f"{'':39}app is new",
        f"{'':39}and 1 more",
    ]


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
    assert re.search(r"    5  new +[0-9.]+ k?B      0  the image's own files\n", text)
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
    assert document(image, new) == document(
        image, graphs[1], "--strategy", "popularity", "--max-layers", "3"
    ) | {"new": document(image, new)["new"]}
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
            f"error: {graphs[1]}: a registry transfers 21.5 kB (21500 bytes) for the update,"
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
