"""`nixdock sbom`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.program import environment, run, run_text
from tests.unit.docker_archive import archive, layer
from tests.unit.sbom.databases import APK

SampleSpec = Callable[..., Path]


@pytest.mark.parametrize("form", ["spdx", "cyclonedx", "table"])
def test_bytes_do_not_depend_on_the_machine(
    tmp_path: Path, sample_spec: SampleSpec, form: str
) -> None:
    spec = sample_spec(tmp_path, nix_db=True)
    image = tmp_path / "image.tar"
    assert run("build", spec, "-q", "-o", image).returncode == 0
    outputs = set()
    for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo")):
        env = environment(PYTHONHASHSEED=seed, TZ=zone, LC_ALL="C")
        done = run("sbom", image, "--format", form, env=env)
        assert done.returncode == 0, done.stderr
        outputs.add(done.stdout)
    assert len(outputs) == 1


def test_the_time_is_that_of_the_source(tmp_path: Path, sample_spec: SampleSpec) -> None:
    sample_spec(tmp_path)
    env = environment(SOURCE_DATE_EPOCH="86400")
    graph = tmp_path / "graph.json"
    document = json.loads(run("sbom", graph, env=env).stdout)
    assert document["creationInfo"]["created"] == "1970-01-02T00:00:00Z"
    spec = sample_spec(tmp_path, created="2026-01-31T12:00:00Z")
    document = json.loads(run("sbom", spec, "--format", "cyclonedx", env=env).stdout)
    assert document["metadata"]["timestamp"] == "2026-01-31T12:00:00Z"
    spec = sample_spec(tmp_path, created="now")
    document = json.loads(run("sbom", spec, "--format", "cyclonedx", env=env).stdout)
    assert document["metadata"]["timestamp"] == "1970-01-02T00:00:00Z"


def test_metadata(tmp_path: Path, sample_spec: SampleSpec) -> None:
    sample_spec(tmp_path)
    app = f"/nix/store/{'d' * 32}-app"
    meta = tmp_path / "meta.json"
    entry = {"pname": "app", "version": "7", "outputs": {"out": app}, "meta": {"license": {"spdxId": "MIT"}}}  # fmt: skip # noqa: E501
    meta.write_text(json.dumps({"app": entry}))
    graph = tmp_path / "graph.json"
    done = run_text("sbom", graph, "--meta", meta, "--format", "table")
    assert "app      7        nix         1  1.0 kB  MIT" in done.stdout.splitlines()
    assert 'licenseDeclared": "MIT' in run_text("sbom", graph, "--meta", meta).stdout


def test_the_table_names_what_was_not_examined(tmp_path: Path) -> None:
    image = archive(tmp_path / "image.tar", [layer(("etc/motd", ""))])
    lines = run_text("sbom", image, "--format", "table").stdout.splitlines()
    assert lines[-1].startswith("base image: not examined, as no database of dpkg")
    files = [("var/lib/rpm/Packages", "other"), ("lib/apk/db/installed", APK)]
    lines = run_text(
        "sbom", archive(tmp_path / "image.tar", [layer(*files)]), "--format", "table"
    ).stdout.splitlines()
    assert lines[1].startswith("musl")
    start = (
        "base image: not all of it was examined, as /var/lib/rpm/Packages has a format that is not"
    )
    assert lines[-1].startswith(start)


def test_outputs_and_standard_input(tmp_path: Path, sample_spec: SampleSpec) -> None:
    sample_spec(tmp_path)
    graph = tmp_path / "graph.json"
    target = tmp_path / "sbom.json"
    assert run("sbom", graph, "-o", target).returncode == 0
    assert run("sbom", "-", stdin=graph.read_bytes()).stdout == target.read_bytes()


@pytest.mark.parametrize(
    ("data", "reason"), [("{", "not valid JSON"), ("[1]", "[0]"), ("{}", "graph")]
)
def test_bad_sources(tmp_path: Path, data: str, reason: str) -> None:
    file = tmp_path / "graph.json"
    file.write_text(data)
    done = run_text("sbom", file, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert reason in done.stderr
    assert not (tmp_path / "out").exists()
