"""`nixdock index`, and the annotations that commands take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nixdock.cli import main
from nixdock.errors import InputError

from ..registry.fake_registry import FakeRegistry
from ..transfer.conftest import fake

__all__ = ["fake"]

SampleSpec = Callable[..., Path]
REVISION = "org.opencontainers.image.revision"


@pytest.fixture
def specs(sample_spec: SampleSpec, tmp_path: Path) -> list[Path]:
    """Specs for arm64 and amd64."""
    found = []
    for architecture in ("arm64", "amd64"):
        (tmp_path / architecture).mkdir()
        found.append(sample_spec(tmp_path / architecture, architecture=architecture))
    return found


def nixdock(*arguments: object, status: int = 0) -> Result:
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == status, done.output
    return done


def described(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(nixdock("index", *arguments, "--json", "-q").stdout)
    return found


def test_what_is_printed(specs: list[Path], fake: FakeRegistry, tmp_path: Path) -> None:
    target = tmp_path / "out.tar"
    done = nixdock("index", *specs, "-o", target, "--digest-file", tmp_path / "digest")
    (digest,) = done.stdout.split()
    assert (tmp_path / "digest").read_text() == f"{digest}\n"
    *_, first, second, summary = done.stderr.splitlines()
    assert [first.split()[0], second.split()[0]] == ["linux/amd64", "linux/arm64"]
    assert first.endswith(" the spec of x/y:v1 for linux/amd64")
    assert summary == "x/y:v1: 2 images"
    destinations = [f"{fake.host}/a:1", f"{fake.host}/b:2"]
    pushed = nixdock("index", *specs, "--push", destinations[0], "--push", destinations[1], "-q")
    assert pushed.stdout == f"{fake.host}/a@{digest}\n{fake.host}/b@{digest}\n"
    assert (fake.tags["a"], fake.tags["b"]) == ({"1": digest}, {"2": digest})
    document = described(*specs, "--push", destinations[0])
    assert document["references"] == [f"{fake.host}/a@{digest}"]
    assert document["names"] == [destinations[0]]
    assert [(each["platform"], each["source"]) for each in document["images"]] == [
        (f"linux/{architecture}", f"the spec of x/y:v1 for linux/{architecture}")
        for architecture in ("amd64", "arm64")
    ]
    assert document["bytes_sent"] == 0


def test_attachments_are_counted(specs: list[Path], tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    nixdock("build", specs[0], "-q", "--format", "oci-layout", "-o", layout, "--sbom", "spdx")
    arguments = (f"oci:{layout}", specs[1], "-o", tmp_path / "index", "--format", "oci-layout")
    done = nixdock("index", *arguments, "--referrers")
    assert done.stderr.splitlines()[-1] == "x/y:v1: 2 images, 1 attachment"
    assert len(described(*arguments, "--referrers")["attachments"]) == 1
    assert described(*arguments)["attachments"] == []


def test_arguments_are_destinations_of_given_images(specs: list[Path], fake: FakeRegistry) -> None:
    """As in the programs that Nix makes; without a destination, names are."""
    images = [word for spec in specs for word in ("--of", spec)]
    name = f"{fake.host}/own:v3"
    pushed = described(*images, f"{fake.host}/a:1", f"{fake.host}/b:2", "--tag", name)
    assert {key: [*fake.tags[key]] for key in fake.tags} == {"a": ["1"], "b": ["2"]}
    assert described(*images, "--tag", name)["names"] == [name]
    assert fake.tags["own"] == {"v3": pushed["digest"]}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["SPEC"], "no output: give a file with -o, or a registry with --push"),
        (["SPEC", "-o", "OUT", "--push", "a:1"], "choose one of the two"),
        (["SPEC", "-o", "OUT", "--reuse", "a:1"], "--reuse is for --push"),
        (["SPEC", "-o", "OUT", "--annotation", "key"], "'key' is not KEY=VALUE"),
        (["SPEC", "-o", "OUT", "--annotation", "=x"], "'=x' is not KEY=VALUE"),
        (
            ["SPEC", "-o", "OUT", "--annotation", "a=x", "--annotation", "a=y"],
            "a is given twice, with different values",
        ),
        (["SPEC", "-o", "OUT", "--annotation", "a=\udcff"], "a=\\udcff is not UTF-8"),
        (["SPEC", "--tag-of-output", "x", "--push", "a:1"], "--tag-of-output needs an output"),
        (["-o", "OUT"], "there is nothing to put into an index"),
        (["SPEC", "-o", "OUT", "--tag", "a b"], "'a b' is not an image name"),
        (["SPEC", "SPEC", "-o", "OUT", "--format", "docker-archive"], "holds no index"),
    ],
)
def test_wrong_usage(specs: list[Path], tmp_path: Path, words: list[str], message: str) -> None:
    files = {"SPEC": str(specs[0]), "OUT": str(tmp_path / "out")}
    arguments = ["index", *(files.get(word, word) for word in words)]
    done = CliRunner().invoke(main, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        assert isinstance(done.exception, InputError)
        assert done.exception.exit_status == 2
        assert message in str(done.exception)
    else:
        assert (done.exit_code, message in done.output) == (2, True)
    assert not (tmp_path / "out").exists()


def test_annotations_of_an_index(specs: list[Path], tmp_path: Path) -> None:
    options = ("-o", tmp_path / "out", "--annotation", "a=b=c", "--annotation", "d=")
    document = described(*specs, *options)
    own = {"a": "b=c", "d": ""}
    known = {"org.opencontainers.image.title": "y", "org.opencontainers.image.version": "v1"}
    assert document["annotations"] == own | known
    document = described(*specs, *options, "--no-default-annotations")
    assert document["annotations"] == own


def test_annotations_of_an_image(specs: list[Path], fake: FakeRegistry, tmp_path: Path) -> None:
    spec, target = specs[0], tmp_path / "out"
    options = ("--annotation", f"{REVISION}=abc", "--no-default-annotations", "-q")
    built = nixdock("build", spec, "-o", target, *options).stdout.strip()
    (image,) = json.loads(nixdock("inspect", target, "--json", "--quick").stdout)["images"]
    assert image["annotations"] == {REVISION: "abc"}
    pushed = nixdock("push", spec, f"{fake.host}/a:1", *options).stdout.strip()
    assert pushed == f"{fake.host}/a@{built}"
    done = nixdock("push", target, f"{fake.host}/a:1", *options, status=2)
    assert "annotations are for a spec; an image that exists stays as it is" in done.output


def test_a_platform_of_a_spec(specs: list[Path], fake: FakeRegistry) -> None:
    done = CliRunner().invoke(
        main, ["push", str(specs[0]), f"{fake.host}/a:1", "--all-platforms", "-q"]
    )
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == "a spec is for one platform, which it states itself"
