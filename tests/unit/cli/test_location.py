"""Locations as arguments: what is in a registry, and what is a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from nixdock.cli.location import named_location
from nixdock.errors import InputError
from nixdock.oci.layout import Format
from nixdock.oci.location import FileLocation, Location
from nixdock.oci.registry_reference import RegistryReference

from ..registry.fake_registry import fake_registry
from ..transfer.samples import sample, store
from .program import run, run_text

APP = RegistryReference("ghcr.io", "me/app", "v1")


def file(text: str) -> FileLocation:
    return FileLocation(Path(text))


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("ghcr.io/me/app:v1", APP),
        ("docker://ghcr.io/me/app:v1", APP),
        ("localhost/app", RegistryReference("localhost", "app", "latest")),
        ("host:5000/app.tar:v1", RegistryReference("host:5000", "app.tar", "v1")),
        ("docker://alpine", RegistryReference("docker.io", "library/alpine", "latest")),
        ("alpine:3", file("alpine:3")),
        ("me/app:v1", file("me/app:v1")),
        ("app.tar", file("app.tar")),
        ("out.d/app.json", file("out.d/app.json")),
        ("out.d/app.tar.gz", file("out.d/app.tar.gz")),
        ("./ghcr.io/me/app:v1", file("ghcr.io/me/app:v1")),
        ("../ghcr.io/app:v1", file("../ghcr.io/app:v1")),
        ("/ghcr.io/app:v1", file("/ghcr.io/app:v1")),
        ("ghcr.io/me/app:not a tag", file("ghcr.io/me/app:not a tag")),
        ("-", file("-")),
        ("oci:a.b/c:d", FileLocation(Path("a.b/c"), Format.OCI_LAYOUT, "d")),
    ],
)
def test_references_and_files(
    text: str, location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert named_location(text) == location


@pytest.mark.parametrize("text", ["ghcr.io/me/app@sha256:07f56d8961b6", "h:1/a:v1@sha256:0"])
def test_a_digest_that_is_not_whole(text: str) -> None:
    """As it is shown to people."""
    with pytest.raises(InputError, match=r"is not a digest: expected sha256: and 64 lower-case"):
        named_location(text)


def test_a_file_that_is_there_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ghcr.io/me").mkdir(parents=True)
    Path("ghcr.io/me/app:v1").touch()
    assert named_location("ghcr.io/me/app:v1") == file("ghcr.io/me/app:v1")


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "IMAGE", "--max-layers", "99"],
        ["sbom", "IMAGE"],
        ["inspect", "IMAGE"],
        ["verify", "IMAGE"],
        ["diff", "IMAGE", "IMAGE"],
        ["export", "IMAGE", "-o", "-"],
        ["merge", "IMAGE", "-o", "-"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_take_references(arguments: list[str]) -> None:
    with fake_registry() as registry:
        store(registry, "x", sample("one"), "v1")
        reference = f"{registry.host}/x:v1"
        outputs = []
        for image in (reference, f"docker://{reference}"):
            done = run(*(image if each == "IMAGE" else each for each in arguments))
            assert done.returncode == 0, done.stderr
            outputs.append(done.stdout)
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(
    "arguments",
    [["check", "--max-layers", "99"], ["sbom"], ["inspect"], ["diff", "x"], ["export"]],
    ids=lambda arguments: arguments[0],
)
def test_what_has_no_host_is_a_file(arguments: list[str]) -> None:
    done = run_text(arguments[0], "me/app:v1", *arguments[1:])
    assert done.returncode == 2
    assert "if this is an image in a registry, write docker://me/app:v1" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("pull", "SECRET", "-o", "x"),
        ("copy", "SECRET", "oci:x"),
        ("copy", "docker://SECRET", "oci:x"),
        ("copy", "-", "SECRET"),
        ("inspect", "docker://me:password@sharp.example/x"),
        ("inspect", "docker://password@localhost:1/x"),
        ("inspect", "me:password@localhost:1/app.tar"),
        ("push", "me:password@localhost:1/app.tar", "localhost:1/x"),
        ("push", "SECRET", "localhost:1/x"),
        ("push", "-", "SECRET"),
        ("push", "-", "localhost:1/x", "--reuse", "SECRET"),
        ("tags", "SECRET"),
        ("load", "SECRET"),
        ("serve", "SECRET"),
        ("run", "SECRET"),
        ("inspect", "SECRET"),
        ("inspect", "https://SECRET"),
        ("verify", "docker://SECRET"),
        ("index", "SECRET", "-o", "x"),
        ("plan", "-", "--previous", "docker://SECRET"),
    ],
)
def test_a_password_in_a_reference_is_not_repeated(words: tuple[str, ...], tmp_path: Path) -> None:
    words = tuple(word.replace("SECRET", "me:password@localhost:1/x:v1") for word in words)
    spec = b'{"version": 1, "name": "x"}'
    done = run(*words, "--verbose", directory=tmp_path, stdin=spec)
    assert done.returncode == 2
    assert b"password@" not in done.stderr
    assert b"an image reference contains no user name or password" in done.stderr


def test_a_missing_file_for_reuse(tmp_path: Path) -> None:
    with fake_registry() as fake:
        for name in ("out/none.tar", "./none", "none.json"):
            done = run_text(
                *("push", "-", f"{fake.host}/x", "--reuse", name),
                directory=tmp_path,
                stdin='{"version": 1, "name": "x"}',
            )
            assert done.returncode == 2
            assert f"{name.removeprefix('./')}: No such file or directory" in done.stderr
            assert fake.requests("PUT", "") == []
