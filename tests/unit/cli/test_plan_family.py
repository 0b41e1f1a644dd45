"""`nixdock plan-family`: common plans for several images."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nixdock.cli import main
from nixdock.cli.plan_family import command
from nixdock.errors import ClosureError, InputError, LayeringError, PlanError
from nixdock.layering.plan_file import parse_plan
from nixdock.nix.store_path import StorePath
from tests.unit.cli.program import run_text


def store_path(name: str) -> str:
    return f"/nix/store/{name[0] * 32}-{name}"


LIB, APP, OTHER = map(store_path, ("lib", "app", "bin"))
ONE = [
    {"path": LIB, "narSize": 100, "references": []},
    {"path": APP, "narSize": 10, "references": [LIB]},
]
TWO = [ONE[0], {"path": OTHER, "narSize": 10, "references": [LIB]}]


@pytest.fixture
def graphs(tmp_path: Path) -> Path:
    file = tmp_path / "graphs.json"
    file.write_text(json.dumps({"one": ONE, "two": TWO}))
    return file


def plan_family(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def layers(file: Path) -> list[list[str]]:
    return [[*layer] for layer in parse_plan(file.read_bytes(), str(file)).layers]


def test_shared_paths_are_layers_of_both(graphs: Path, tmp_path: Path) -> None:
    done = plan_family(f"a={graphs}#one", f"b={graphs}#two", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert done.output == "2 images, 4 layers, 3 of them different\n"
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "a.plan.json",
        "b.plan.json",
        "family.json",
    ]
    assert layers(tmp_path / "out/a.plan.json") == [[LIB], [APP]]
    assert layers(tmp_path / "out/b.plan.json") == [[LIB], [OTHER]]


def test_a_file_is_read_once(graphs: Path, tmp_path: Path) -> None:
    """Standard input can't be read again, and a large file takes seconds."""
    arguments = ["a=-#one", "b=-#two", "-o", tmp_path / "out"]
    done = run_text("plan-family", *arguments, stdin=graphs.read_text())
    assert done.returncode == 0, done.stderr
    assert layers(tmp_path / "out/a.plan.json") == [[LIB], [APP]]
    assert layers(tmp_path / "out/b.plan.json") == [[LIB], [OTHER]]


def test_each_image_may_have_its_limit(graphs: Path, tmp_path: Path) -> None:
    limits = ("--max-layers", "a=2", "--max-layers", "9")
    done = plan_family(f"a={graphs}#one", f"b={graphs}#two", "-o", tmp_path / "out", *limits)
    assert done.exit_code == 0, done.output
    assert len(layers(tmp_path / "out/a.plan.json")) == 1
    assert len(layers(tmp_path / "out/b.plan.json")) == 2


def test_excluded_paths_stay_out(graphs: Path, tmp_path: Path) -> None:
    done = plan_family(f"a={graphs}#one", "-o", tmp_path / "out", "--exclude", APP)
    assert done.exit_code == 0, done.output
    assert layers(tmp_path / "out/a.plan.json") == [[StorePath(LIB)]]


def test_roots_of_any_image(graphs: Path, tmp_path: Path) -> None:
    images = (f"a={graphs}#one", f"b={graphs}#two")
    done = plan_family(*images, "-o", tmp_path / "out", "--root", LIB, "--root", OTHER)
    assert done.exit_code == 0, done.output
    assert layers(tmp_path / "out/a.plan.json") == [[StorePath(LIB)]]
    assert layers(tmp_path / "out/b.plan.json") == [[StorePath(LIB)], [StorePath(OTHER)]]


@pytest.mark.parametrize("option", ["--root", "--exclude", "--volatile"])
def test_paths_that_no_image_has(graphs: Path, tmp_path: Path, option: str) -> None:
    missing = f"/nix/store/{'0' * 32}-missing"
    done = plan_family(f"a={graphs}#one", "-o", tmp_path / "out", option, missing)
    assert isinstance(done.exception, InputError)
    assert f"{missing} is not in the closure" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An OCI layout with the images small:t, which has LIB, and full:t, which has APP too."""
    layout = tmp_path / "base"
    manifests = []
    for name, paths in (("small", [[LIB]]), ("full", [[LIB], [APP]])):
        layers = [store_layer(layout, each) for each in paths]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
            "history": [{"created_by": "x"} for _ in layers],
        }
        manifest = {
            "schemaVersion": 2,
            "config": blob(layout, "config", json.dumps(config).encode()),
            "layers": layers,
        }
        entry = blob(layout, "manifest", json.dumps(manifest).encode())
        annotations = {"org.opencontainers.image.ref.name": f"{name}:t"}
        manifests.append({**entry, "annotations": annotations})
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = {"schemaVersion": 2, "manifests": manifests}
    (layout / "index.json").write_text(json.dumps(index))
    return layout


def store_layer(layout: Path, paths: list[str]) -> dict[str, object]:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for path in paths:
            tar.addfile(tarfile.TarInfo(path[1:]))
    return blob(layout, "layer", data.getvalue())


def blob(layout: Path, kind: str, data: bytes) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    file = layout / "blobs/sha256" / digest
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    media_type = {
        "layer": "application/vnd.oci.image.layer.v1.tar",
        "config": "application/vnd.oci.image.config.v1+json",
        "manifest": "application/vnd.oci.image.manifest.v1+json",
    }[kind]
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def test_paths_of_a_base_image_stay_out(graphs: Path, base: Path, tmp_path: Path) -> None:
    """And an image whose base image has all of its paths has no store layers."""
    options = ("--from-image", f"a={base}#small:t", "--from-image", f"b={base}#full:t")
    images = (f"a={graphs}#one", f"b={graphs}#one", f"c={graphs}#two")
    done = plan_family(*images, "-o", tmp_path / "out", *options)
    assert done.exit_code == 0, done.output
    assert layers(tmp_path / "out/a.plan.json") == [[APP]]
    assert layers(tmp_path / "out/b.plan.json") == []
    assert layers(tmp_path / "out/c.plan.json") == [[LIB], [OTHER]]


@pytest.mark.parametrize("limit", [1, 3])
def test_without_store_layers_there_need_be_no_room_for_one(
    graphs: Path, base: Path, tmp_path: Path, limit: int
) -> None:
    options = ("--from-image", f"b={base}#full:t", "--max-layers", f"b={limit}")
    done = plan_family(f"a={graphs}#one", f"b={graphs}#one", "-o", tmp_path / "out", *options)
    assert done.exit_code == 0, done.output
    assert layers(tmp_path / "out/a.plan.json") == [[LIB], [APP]]
    assert layers(tmp_path / "out/b.plan.json") == []


def test_layers_of_a_base_image_count(graphs: Path, base: Path, tmp_path: Path) -> None:
    def planned(limit: str) -> Result:
        options = ("--max-layers", limit, "--from-image", f"a={base}#full:t")
        return plan_family(f"a={graphs}#two", "-o", tmp_path / "out", *options)

    done = planned("4")
    assert done.exit_code == 0, done.output
    assert layers(tmp_path / "out/a.plan.json") == [[OTHER]]
    done = planned("3")
    assert isinstance(done.exception, PlanError)
    assert str(done.exception) == (
        "max_layers is 3, but 2 of the base image and the top layer leave no room for a store"
        " layer: at least 4 layers are needed"
    )


@pytest.mark.parametrize("limit", ["125", "200", "a=200"])
def test_an_image_on_its_base_image_has_no_more_layers_than_docker_takes(
    base: Path, tmp_path: Path, limit: str
) -> None:
    graph = tmp_path / "many.json"
    paths = [f"/nix/store/{i:032}-p" for i in range(130)]
    graph.write_text(json.dumps([{"path": p, "narSize": 2 << 20, "references": []} for p in paths]))
    options = ("--max-layers", limit, "--from-image", f"a={base}#full:t")
    done = plan_family(f"a={graph}", "-o", tmp_path / "out", *options)
    assert done.exit_code == 0, done.output
    # Two are the base image's, and one is the top layer.
    assert len(layers(tmp_path / "out/a.plan.json")) == 122


def test_the_reference_of_a_base_image_may_be_incomplete(
    graphs: Path, base: Path, tmp_path: Path
) -> None:
    for reference, expected in (("", [[APP]]), ("#full", []), ("#:t", [[APP]])):
        option = f"a={base}{reference}"
        done = plan_family(f"a={graphs}#one", "-o", tmp_path / "out", "--from-image", option)
        assert done.exit_code == 0, done.output
        assert layers(tmp_path / "out/a.plan.json") == expected


NEWER, OWN = (f"/nix/store/{letter * 32}-{name}" for letter, name in (("z", "app"), ("y", "own")))


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """The next generation of `graphs`: another app in `one`, and another image, `three`."""
    one = [ONE[0], {**ONE[1], "path": NEWER}]
    three = [ONE[0], {"path": OWN, "narSize": 10, "references": [LIB]}]
    file = tmp_path / "newer.json"
    file.write_text(json.dumps({"one": one, "two": TWO, "three": three}))
    return file


def previous_options(out: Path, kind: str) -> list[str | Path]:
    """The previous plans as a directory, as files in any order, or as one file."""
    if kind == "directory":
        return ["--previous", out]
    files = [out / f"{name}.plan.json" for name in "ba"]
    return [part for file in files[: 1 if kind == "file" else 2] for part in ("--previous", file)]


@pytest.mark.parametrize("kind", ["directory", "files", "file"])
def test_previous_plans_are_continued(graphs: Path, newer: Path, tmp_path: Path, kind: str) -> None:
    """Under other names, and also by an image that is new: the layer of two paths stays."""
    out = tmp_path / "out"
    done = plan_family(f"a={graphs}#two", f"b={graphs}#two", "-o", out, "--max-layers", "2")
    assert done.exit_code == 0, done.output
    assert layers(out / "a.plan.json") == [[OTHER, LIB]]
    images = [f"{name}={newer}#{key}" for name, key in (("x", "one"), ("y", "two"), ("z", "three"))]
    for options, expected in (
        (previous_options(out, kind), [[OTHER, LIB]]),
        ([], [[LIB], [OTHER]]),
    ):
        done = plan_family(*images, "-o", tmp_path / "next", *options)
        assert done.exit_code == 0, done.output
        assert layers(tmp_path / "next/y.plan.json") == expected
        assert layers(tmp_path / "next/x.plan.json") == [[LIB], [NEWER]]
    history = json.loads((tmp_path / "next/x.plan.json").read_text())["history"]
    assert history["steps"] == 0


def test_the_directory_of_the_previous_plans_may_be_replaced(
    graphs: Path, newer: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    plan_family(f"a={graphs}#one", f"b={graphs}#two", "-o", out)
    images = (f"a={newer}#one", f"c={newer}#three")
    done = plan_family(*images, "-o", out, "--previous", out)
    assert done.exit_code == 0, done.output
    assert sorted(file.name for file in out.iterdir()) == [
        "a.plan.json",
        "c.plan.json",
        "family.json",
    ]
    assert json.loads((out / "a.plan.json").read_text())["history"]["steps"] == 1


def test_images_of_a_family_remember_its_plan(
    sample_spec: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no layer needs to be read to continue it."""
    spec = sample_spec(tmp_path)
    graph = tmp_path / json.loads(spec.read_text())["closure"]["graph"]
    family = (f"a={graph}", f"b={graph}", "--max-layers", "3")
    plan_family(*family, "-o", tmp_path / "first")
    plan = tmp_path / "first/a.plan.json"
    spec = sample_spec(tmp_path, layering={"strategy": "explicit", "plan": str(plan)})
    main.main(["build", str(spec), "-q", "-o", str(tmp_path / "a.tar")], standalone_mode=False)
    monkeypatch.setattr("nixdock.read.report.inspect_images", None)
    previous = ("--previous", tmp_path / "a.tar", "--platform", "linux/amd64")
    done = plan_family(*family, "-o", tmp_path / "second", *previous)
    assert done.exit_code == 0, done.output
    for name in "ab":
        after = json.loads((tmp_path / f"second/{name}.plan.json").read_text())
        assert after == json.loads(plan.read_text())


def test_a_previous_plan_that_is_missing_or_damaged(graphs: Path, tmp_path: Path) -> None:
    (tmp_path / "damaged.json").write_text('{"version": 1}')
    for name, error, message in (
        ("absent.json", InputError, "can't read the previous plan"),
        ("damaged.json", LayeringError, "damaged.json is not a plan"),
    ):
        options = ("-o", tmp_path / "out", "--previous", tmp_path / name)
        done = plan_family(f"a={graphs}#one", *options)
        assert isinstance(done.exception, error)
        assert message in str(done.exception)
        assert not (tmp_path / "out").exists()


def test_names_of_paths_of_any_image(graphs: Path, tmp_path: Path) -> None:
    images = (f"a={graphs}#one", f"b={graphs}#two", "-o", tmp_path / "out")
    done = plan_family(*images, "--exclude", "app", "--volatile", "bin")
    assert done.exit_code == 0, done.output
    assert layers(tmp_path / "out/a.plan.json") == [[StorePath(LIB)]]
    done = plan_family(*images, "--exclude", "apps")
    assert "'apps' is neither a store path nor the name of one" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a"], "is not NAME=GRAPH"),
        (["a="], "is not NAME=GRAPH"),
        (["a=#one"], "is not NAME=GRAPH"),
        (["../a=GRAPH#one"], "is not NAME=GRAPH"),
        (["a=GRAPH#one", "a=GRAPH#two"], "two images have the same name"),
        (["a=GRAPH#one", "--platform", "linux/arm64"], "--platform is for --previous"),
        (["a=GRAPH#one", "--max-layers", "x"], "expected a number, or NAME=N"),
        (["a=GRAPH#one", "--max-layers", "9" * 5000], "expected a number, or NAME=N"),
        (["a=GRAPH#one", "--max-layers", "b=5"], "expected a number, or NAME=N"),
        (["a=GRAPH#one", "--from-image", "b=x.tar"], "expected NAME=VALUE"),
        (["a=GRAPH#one", "--from-image", "a"], "expected NAME=VALUE"),
        (["a=GRAPH#one", *("--architecture", "a=arm") * 2], "expected NAME=VALUE"),
        (["a=GRAPH#one", "--architecture", "a=arm"], "but a has no --from-image"),
    ],
)
def test_wrong_usage(graphs: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    given = [argument.replace("GRAPH", str(graphs)) for argument in arguments]
    done = plan_family(*given, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "out").exists()


def test_no_room_and_no_paths(graphs: Path, tmp_path: Path) -> None:
    done = plan_family(f"a={graphs}#one", "-o", tmp_path / "out", "--max-layers", "1")
    assert isinstance(done.exception, PlanError)
    done = plan_family(f"a={graphs}#one", "-o", tmp_path / "o", "--exclude", APP, "--exclude", LIB)
    assert isinstance(done.exception, ClosureError)
