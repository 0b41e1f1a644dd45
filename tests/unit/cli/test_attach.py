"""`nixdock attach` and `nixdock referrers`, and the options of `build` and `push`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.cli.program import run_text
from tests.unit.provenance.statements import statement

from ..attach.places import TYPE, SampleSpec, fake, layout
from ..registry.fake_registry import FakeRegistry

__all__ = ["fake", "layout"]
USAGE = "Usage: nixdock"


def good(*arguments: object, stdin: str = "") -> str:
    done = run_text(*arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wrong(*arguments: object) -> str:
    done = run_text(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()[-1]


def test_a_file_is_attached_listed_and_read(layout: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text('{"a": 1}')
    place = f"oci:{layout}:v1"
    assert good("referrers", place) == ""
    digest = good(
        *("attach", place, "--file", file, "--type", TYPE),
        *("--annotation", "by=me", "--annotation", "a=b=c"),
    ).strip()
    assert good("referrers", place).splitlines() == [
        f"type                          digest{' ' * 67}annotations",
        f"{TYPE}  {digest}  a=b=c, by=me",
    ]
    listed = json.loads(good("referrers", place, "--json"))
    (entry,) = listed["referrers"]
    assert entry["annotations"] == {"by": "me", "a": "b=c"}
    assert (entry["digest"], entry["artifact_type"]) == (digest, TYPE)
    assert good("referrers", place, "-o", "-") == '{"a": 1}'
    good("referrers", place, "--digest", digest, "-o", tmp_path / "read")
    assert (tmp_path / "read").read_text() == '{"a": 1}'
    assert good("referrers", place, "--type", "a/b") == ""


def test_standard_input_has_no_name(layout: Path) -> None:
    digest = good("attach", layout, "--file", "-", "--type", "text/plain", stdin="data").strip()
    manifest = layout / "blobs/sha256" / digest.removeprefix("sha256:")
    assert "annotations" not in json.loads(manifest.read_text())["layers"][0]
    assert good("referrers", layout, "-o", "-") == "data"


def test_a_bill_of_materials(layout: Path) -> None:
    attached = json.loads(good("attach", layout, "--sbom", "cyclonedx", "--json"))
    assert attached["artifact_type"] == "application/vnd.cyclonedx+json"
    assert good("referrers", layout, "-o", "-") == good("sbom", layout, "--format", "cyclonedx")


def test_a_file_with_any_name(layout: Path, tmp_path: Path) -> None:
    """The manifest has the name, and is Unicode text."""
    file = tmp_path / os.fsdecode(b"x\xff.json")
    file.write_text("data")
    good("attach", layout, "--file", file, "--type", TYPE)
    assert any(rb"x\\xff.json" in each.read_bytes() for each in layout.glob("blobs/sha256/*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "attach either --file with --type, or --sbom"),
        (["--file", "f", "--type", TYPE, "--sbom", "spdx"], "attach either --file"),
        (["--file", "f"], "--file and --type belong together"),
        (["--sbom", "spdx", "--type", TYPE], "--file and --type belong together"),
        (["--file", "f", "--type", TYPE, "--meta", "m"], "--meta is for --sbom"),
        (["--file", "/dev/null", "--type", "json"], "'json' is not a type of attachments"),
        (["--sbom", "spdx", "--annotation", "x"], "'x' is not KEY=VALUE"),
        (["--sbom", "spdx", "--annotation", "=x"], "'=x' is not KEY=VALUE"),
        (["--sbom", "spdx", "--annotation", "a=1", "--annotation", "a=2"], "a is given twice"),
    ],
)
def test_wrong_use_of_attach(layout: Path, options: list[str], message: str) -> None:
    assert message in wrong("attach", layout, *options)
    assert good("referrers", layout) == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--json", "-o", "x"], "--json prints a list, and -o writes"),
        (["--digest", "sha256:0"], "--digest is for -o"),
        (["-o", "x"], "nothing is attached to"),
    ],
)
def test_wrong_use_of_referrers(layout: Path, options: list[str], message: str) -> None:
    assert message in wrong("referrers", layout, *options)


def test_a_build_with_attachments(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec, target = sample_spec(tmp_path), tmp_path / "image"
    options = ["--sbom", "spdx", "--provenance", "--builder-id", "https://ci.example"]
    report = json.loads(good("build", spec, "-q", "-o", target, *options, "--json"))
    assert [each["artifact_type"] for each in report["attachments"]] == [
        "application/spdx+json",
        "application/vnd.in-toto+json",
    ]
    kind = "application/vnd.in-toto+json"
    data = good("referrers", target, "--type", kind, "-o", "-").encode()
    assert statement(data)["predicate"]["runDetails"]["builder"]["id"] == "https://ci.example"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sbom", "spdx", "--dry-run"], "are for an image that is written"),
        (["-o", "x", "--meta", "m"], "--meta is for --sbom"),
        (["-o", "x", "--sbom", "spdx", "--builder-id", "a:b"], "--builder-id is for --provenance"),
        (["-o", "x", "--attach-as", "index"], "--attach-as is for --sbom and --provenance"),
        (["-o", "x", "--format", "docker-archive", "--provenance"], "a docker-archive has no"),
    ],
)
def test_wrong_use_of_build(
    sample_spec: SampleSpec, tmp_path: Path, options: list[str], message: str
) -> None:
    assert message in wrong("build", sample_spec(tmp_path), "-q", *options)


def test_a_push_with_attachments(
    sample_spec: SampleSpec, tmp_path: Path, fake: FakeRegistry
) -> None:
    options = ["--sbom", "spdx", "--provenance", "--no-cache", "-q", "--json"]
    report = json.loads(good("push", sample_spec(tmp_path), f"{fake.host}/x:v1", *options))
    place = f"docker://{fake.host}/x:v1"
    listed = json.loads(good("referrers", place, "--json"))
    assert listed["subject"] == report["digest"]
    assert {each["digest"] for each in listed["referrers"]} == {
        each["digest"] for each in report["attachments"]
    }
    reference = good("attach", place, "--sbom", "cyclonedx").strip()
    assert reference.startswith(f"{fake.host}/x@sha256:")


def test_docker_may_be_left_out(layout: Path, fake: FakeRegistry, tmp_path: Path) -> None:
    reference = f"{fake.host}/x:v1"
    good("copy", layout, f"docker://{reference}")
    (tmp_path / "file").write_text("text")
    good("attach", reference, "--file", tmp_path / "file", "--type", "text/x-test")
    assert "text/x-test" in good("referrers", reference)
    # What is like the path of a file is taken for one.
    assert "can't open x/y:v1" in wrong("referrers", "x/y:v1")
    assert "can't open x.y/z" in wrong("referrers", "./x.y/z")


def test_attachments_go_along_with_an_image(layout: Path, fake: FakeRegistry) -> None:
    digest = good("attach", layout, "--sbom", "spdx").strip()
    place = f"docker://{fake.host}/x:v1"
    done = run_text("copy", layout, place, "--referrers")
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1].count(", 1 attachment, ") == 1
    assert digest in good("referrers", place)
    pulled = layout.parent / "pulled"
    good("pull", place.removeprefix("docker://"), "-o", pulled, "--referrers")
    assert digest in good("referrers", pulled)


def test_wrong_use_of_copy(layout: Path, sample_spec: SampleSpec, tmp_path: Path) -> None:
    assert "the daemon keeps no referrers" in wrong(
        "copy", layout, "docker-daemon:x:v1", "--referrers"
    )
    spec = sample_spec(tmp_path)
    assert "nothing is attached to an image that is being built" in wrong(
        "copy", spec, f"oci:{tmp_path}/x", "--referrers"
    )
