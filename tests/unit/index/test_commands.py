"""Every command that reads images reads an index: in a layout, in archives and in a registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nixdock import Indexing, build_index, read_spec
from nixdock.cli import main
from nixdock.read.opening import REGISTRY

from ..registry.fake_registry import FakeRegistry, fake_registry
from ..transfer.samples import archive_files, layout_blobs

SampleSpec = Callable[..., Path]
ARCHITECTURES = ("amd64", "arm64")
TITLE = {"org.opencontainers.image.title": "y"}
VERSION = {"org.opencontainers.image.version": "v1"}


@pytest.fixture(scope="module")
def server() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.fixture(scope="module")
def directory(
    sample_spec: SampleSpec, server: FakeRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A directory with specs for two platforms, and their index in every form."""
    found = tmp_path_factory.mktemp("index")
    specs = []
    for architecture in ARCHITECTURES:
        (found / architecture).mkdir()
        config = {"Cmd": ["/bin/app", architecture]}
        spec = sample_spec(found / architecture, architecture=architecture, config=config)
        specs.append(read_spec(spec))
    for form in ("oci-layout", "archive", "oci-archive"):
        build_index(specs, found / form, Indexing(use_cache=False), form=form)
    nixdock("push", f"oci:{found}/oci-layout", f"{server.host}/x:v1", "--all-platforms", "-q")
    return found


@pytest.fixture(params=["oci-layout", "archive", "oci-archive", REGISTRY])
def place(request: pytest.FixtureRequest, directory: Path, server: FakeRegistry) -> str:
    """The location of the index."""
    remote = request.param == REGISTRY
    return f"docker://{server.host}/x:v1" if remote else str(directory / request.param)


def nixdock(*arguments: object) -> Result:
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done


def images(place: str, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(nixdock("inspect", place, "--json", *options).stdout)[
        "images"
    ]
    return found


def index_digest(directory: Path) -> str:
    (entry,) = json.loads((directory / "oci-layout/index.json").read_bytes())["manifests"]
    digest: str = entry["digest"]
    return digest


@pytest.mark.parametrize("options", [(), ("--quick",)])
def test_inspect(place: str, directory: Path, options: tuple[str, ...]) -> None:
    index = {"digest": index_digest(directory), "annotations": TITLE | VERSION}
    found = images(place, *options)
    assert [each["architecture"] for each in found] == [*ARCHITECTURES]
    assert [each["index"] for each in found] == [index, index]
    assert [each["annotations"] for each in found] == [TITLE | VERSION] * 2
    assert images(place, *options, "--platform", "linux/arm64") == found[1:]
    text = nixdock("inspect", place, *options).stdout
    assert text.count(f"index        {index['digest']}\n") == 2
    assert text.count("org.opencontainers.image.title=y\n") == 4


def test_verify(place: str) -> None:
    done = nixdock("verify", place, "--strict")
    assert ", 2 images, 10 layers, " in done.stdout


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_diff_takes_the_platform_of_the_spec(
    place: str, directory: Path, architecture: str
) -> None:
    spec = directory / architecture / "spec.json"
    for sides in ((place, spec), (spec, place)):
        done = nixdock("diff", "--json", *sides)
        old, new = (json.loads(done.stdout)[side] for side in ("old", "new"))
        assert old["digest"] == new["digest"]


def test_diff_of_platforms(place: str) -> None:
    digests = {
        json.loads(nixdock("diff", "--json", place, place, *options).stdout)["new"]["digest"]
        for options in ((), ("--platform", "linux/arm64"))
    }
    assert digests == {each["digest"] for each in images(place, "--quick")}


@pytest.mark.parametrize("command", ["copy", "push"])
def test_copy_and_push(place: str, directory: Path, server: FakeRegistry, command: str) -> None:
    amd64, arm64 = (each["digest"] for each in images(place, "--quick"))
    whole = index_digest(directory)
    scheme = "docker://" if command == "copy" else ""
    for options, digest in (
        ((), amd64),
        (("--platform", "linux/arm64"), arm64),
        (("--all-platforms",), whole),
    ):
        target = f"{server.host}/{command}:v1"
        done = nixdock(command, place, f"{scheme}{target}", "-q", *options)
        assert done.stdout == f"{target[:-3]}@{digest}\n"
        assert server.tags[command]["v1"] == digest


@pytest.mark.parametrize("form", ["oci-layout", "archive", "oci-archive"])
def test_pull(directory: Path, server: FakeRegistry, tmp_path: Path, form: str) -> None:
    reference, target = f"{server.host}/x:v1", tmp_path / "out"
    nixdock("pull", reference, "-o", target, "--format", form, "--all-platforms", "-q")
    found, own = (
        layout_blobs(file) if file.is_dir() else archive_files(file)
        for file in (target, directory / form)
    )
    ours = {name: own[name] for name in own if name.startswith(("sha256:", "blobs/"))}
    assert {name: found[name] for name in ours} == ours
    for architecture in ARCHITECTURES:
        one = tmp_path / architecture
        nixdock("pull", reference, "-o", one, "--platform", f"linux/{architecture}", "-q")
        (image,) = images(str(one), "--quick")
        assert image["architecture"] == architecture


def test_merge(place: str, server: FakeRegistry, tmp_path: Path) -> None:
    """All images of a file, of which the first keeps the name, and one of a registry."""
    target = tmp_path / "merged.tar"
    nixdock("merge", place, "-o", target)
    found = [(each["architecture"], len(each["tags"])) for each in images(str(target))]
    assert found == ([("amd64", 1)] if server.host in place else [("amd64", 1), ("arm64", 0)])
    nixdock("merge", place, "-o", target, "--platform", "linux/arm64")
    assert [each["architecture"] for each in images(str(target))] == ["arm64"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_base_image_is_that_for_the_platform(
    place: str, sample_spec: SampleSpec, tmp_path: Path, architecture: str
) -> None:
    spec = sample_spec(
        tmp_path,
        architecture=architecture,
        from_image={"path": place},
        config={},
        inherit_config="all",
    )
    (image,) = images(str(spec))
    assert image["config"]["Cmd"] == ["/bin/app", architecture]
    digests = {each["architecture"]: each["digest"] for each in images(place, "--quick")}
    base = image["annotations"]["org.opencontainers.image.base.digest"]
    assert base == digests[architecture]
