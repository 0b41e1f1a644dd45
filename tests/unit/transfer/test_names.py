"""The names of images in files."""

from __future__ import annotations

import pytest

from nixdock.oci.registry_reference import RegistryReference
from nixdock.transfer.names import agreed_names, annotations_of, docker_names, name_of, renamed

TAG, FULL = "org.opencontainers.image.ref.name", "io.containerd.image.name"
DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("reference", "name", "annotations", "docker"),
    [
        (
            "debian:12",
            "docker.io/library/debian:12",
            {TAG: "12", FULL: "docker.io/library/debian:12"},
            ["debian:12"],
        ),
        (
            f"ghcr.io/a/b:v1@{DIGEST}",
            "ghcr.io/a/b:v1",
            {TAG: "v1", FULL: "ghcr.io/a/b:v1"},
            ["ghcr.io/a/b:v1"],
        ),
        (f"ghcr.io/a@{DIGEST}", f"ghcr.io/a@{DIGEST}", {FULL: f"ghcr.io/a@{DIGEST}"}, []),
        ("[::1]:5000/a:b", "[::1]:5000/a:b", {TAG: "b", FULL: "[::1]:5000/a:b"}, []),
    ],
)
def test_an_image_keeps_its_name(
    reference: str, name: str, annotations: dict[str, str], docker: list[str]
) -> None:
    assert name_of(RegistryReference.parse(reference)) == name
    assert annotations_of(name) == annotations
    assert docker_names([name]) == docker


def test_a_tag_alone_is_a_name() -> None:
    assert annotations_of("v1") == {TAG: "v1"}
    assert docker_names(["v1"]) == []
    assert annotations_of("hello:v1") == {TAG: "v1", FULL: "docker.io/library/hello:v1"}


@pytest.mark.parametrize(
    ("own", "name", "expected"),
    [
        (["ghcr.io/a:v1"], "v2", "ghcr.io/a:v2"),
        ([f"ghcr.io/a@{DIGEST}"], "v2", "ghcr.io/a:v2"),
        (["v1", "hello:v1"], "v2", "hello:v2"),
        (["v1"], "v2", "v2"),
        ([], "v2", "v2"),
        (["ghcr.io/a:v1"], "b:c", "b:c"),
    ],
)
def test_a_new_tag_keeps_the_repository(own: list[str], name: str, expected: str) -> None:
    assert renamed(own, name) == expected


@pytest.mark.parametrize(
    ("names", "agreed"),
    [
        (["v1", "v2"], ("v1", "v2")),
        ([f"ghcr.io/a@{DIGEST}"], (f"ghcr.io/a@{DIGEST}",)),
        (["v2", "docker.io/library/a:v1"], ("a:v2", "docker.io/library/a:v1")),
        (["a:v1", "v1", "b:v1"], ("a:v1", "b:v1")),
        (["a:v1", "v1+build", "linux/amd64", "A:b"], ("a:v1",)),
    ],
)
def test_the_names_on_which_docker_and_oci_tools_agree(
    names: list[str], agreed: tuple[str, ...]
) -> None:
    assert agreed_names(names) == agreed
