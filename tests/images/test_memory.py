"""The memory of an image with many store paths: it hinders no runtime, and every copy keeps it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from nixdock import build_image, read_previous, read_spec
from nixdock.layering.plan_history import PreviousPlan
from nixdock.read.opening import open_image

from ..runtime.command import require_tool
from ..runtime.containerd import Containerd
from ..runtime.engine import Docker, Podman
from ..runtime.oci_tools import Skopeo

pytestmark = pytest.mark.runtime

PATHS = 200
NAME = "remembering:v1"
BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive with 200 store paths, of which one is BusyBox."""
    place = tmp_path_factory.mktemp("remembering")
    graph: list[dict[str, Any]] = []
    for i in range(PATHS):
        digits = BASE32[i // 32] + BASE32[i % 32]
        path = f"/nix/store/{digits * 16}-package-{i}.0"
        (place / path[1:]).mkdir(parents=True)
        (place / path[1:] / "file").write_text("x" * i)
        graph.append({"path": path, "narSize": 500 + i, "references": []})
    program = f"{graph[7]['path']}/busybox"
    shutil.copy(require_tool("busybox"), place / program[1:])
    (place / "graph.json").write_text(json.dumps(graph))
    machine = os.uname().machine
    spec = {
        "version": 1,
        "name": NAME.partition(":")[0],
        "tag": "v1",
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        "closure": {"graph": "graph.json"},
        "store": {"root": str(place)},
        "config": {"Cmd": [program, "echo", "hello"]},
    }
    (place / "spec.json").write_text(json.dumps(spec))
    build_image(read_spec(place / "spec.json"), place / "image.tar")
    return place / "image.tar"


def remembered(copy: Path, monkeypatch: pytest.MonkeyPatch) -> PreviousPlan:
    """Return the plan that the image remembers, without a look into its layers."""
    monkeypatch.setattr("nixdock.read.report.inspect_images", None)
    return read_previous(copy)


def test_containerd_runs_it_and_keeps_the_memory(
    image: Path, containerd: Containerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"docker.io/library/{NAME}"
    assert containerd.load(image) == [name]
    assert containerd.run(name, "remembering") == "hello\n"
    containerd.save(name, tmp_path / "copy.tar")
    plan = remembered(image, monkeypatch)
    assert sum(map(len, plan.layers)) == PATHS
    assert remembered(tmp_path / "copy.tar", monkeypatch) == plan


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_engines_run_it_and_keep_the_memory(
    image: Path,
    engine: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime: Docker | Podman = request.getfixturevalue(engine)
    name = runtime.load(image)
    assert runtime.run(name).stdout == "hello\n"
    runtime.save(name, tmp_path / "copy.tar")
    assert remembered(tmp_path / "copy.tar", monkeypatch) == remembered(image, monkeypatch)


def test_skopeo_keeps_the_memory(
    image: Path, skopeo: Skopeo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skopeo.copy(f"oci-archive:{image}", f"oci:{tmp_path}/layout:v1")
    assert remembered(tmp_path / "layout", monkeypatch) == remembered(image, monkeypatch)


def test_no_label_is_too_long_for_containerd(image: Path) -> None:
    with open_image(image) as file:
        config = file.images[0].config
    assert not (config.config or {}).get("Labels")
    assert len(json.dumps(config.memory)) < PATHS * 40
