from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nixdock
from nixdock.errors import InputError
from nixdock.oci.layout import Format
from nixdock.oci.location import (
    FileLocation,
    Location,
    location_of,
    location_text,
    parse_destination,
    parse_location,
    registry_hint,
    registry_reference,
)
from nixdock.oci.registry_reference import RegistryReference
from nixdock.transfer.targets import target_reference


@pytest.mark.parametrize(
    ("text", "path", "form", "name"),
    [
        ("image.tar", "image.tar", None, None),
        ("/a/b", "/a/b", None, None),
        ("a:b", "a:b", None, None),
        ("./oci:b", "oci:b", None, None),
        ("oci:a/b", "a/b", Format.OCI_LAYOUT, None),
        ("oci:a/b:v1", "a/b", Format.OCI_LAYOUT, "v1"),
        ("oci-archive:/a.tar:v1", "/a.tar", Format.OCI_ARCHIVE, "v1"),
        ("docker-archive:a.tar:host:5000/b:v1", "a.tar", Format.DOCKER_ARCHIVE, "host:5000/b:v1"),
    ],
)
def test_files(text: str, path: str, form: Format | None, name: str | None) -> None:
    assert parse_location(text) == FileLocation(Path(path), form, name)


def test_registries() -> None:
    assert parse_location("docker://ghcr.io/a/b:v1") == RegistryReference("ghcr.io", "a/b", "v1")


NO_TRANSPORT = (
    "is not a location: it should start with docker:// for a registry, or with docker-archive: for"
    " a file"
)
FOREIGN = "is a location of skopeo that nixdock does not read; copy the image first: skopeo copy"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the location of an image is empty"),
        ("docker:a", f"docker:a {NO_TRANSPORT}"),
        ("docker:/a/b", f"docker:/a/b {NO_TRANSPORT}"),
        ("oci:", "oci: is not a location: expected oci:PATH[:NAME]"),
        ("oci-archive:a:", "oci-archive:a: is not a location: expected oci-archive:PATH[:NAME]"),
        *(
            (text, f"{text} {FOREIGN} {text} oci:DIRECTORY:TAG")
            for text in ("containers-storage:a", "dir:a", "docker-daemon:a:b", "ostree:a", "sif:a")
        ),
    ],
)
def test_what_is_no_location(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_location(text)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "docker://",
        "docker://a b",
        "docker://a@sha256:1",
        "docker://a.example:0/x",
        "docker://[::1]:65536/x",
        f"docker://localhost:{'9' * 5000}/x",
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(InputError, match="is not an image reference"):
        parse_location(text)


DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "text",
    [
        *("a", "a:b", "/a/b", "oci:a:v1", "oci-archive:a", "docker-archive:a:b:c"),
        *("./oci:a", "./docker-daemon:a", "./docker:/host/a"),
        *("docker://host:1/a/b:v1", f"docker://ghcr.io/a@{DIGEST}", f"docker://h.x/a:1@{DIGEST}"),
    ],
)
def test_text(text: str) -> None:
    assert location_text(parse_location(text)) == text


SEGMENTS = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,4})?", fullmatch=True)
PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
FILES = st.builds(FileLocation, PATHS.map(Path)) | st.builds(
    FileLocation,
    PATHS.map(lambda text: Path(text.replace(":", ""))),
    st.sampled_from([Format.OCI_LAYOUT, Format.OCI_ARCHIVE, Format.DOCKER_ARCHIVE]),
    st.none() | PATHS,
)
REFERENCES = st.builds(
    RegistryReference,
    st.sampled_from(["docker.io", "ghcr.io", "localhost", "host:5000", "127.0.0.1:5000"]),
    st.lists(SEGMENTS, min_size=2, max_size=4).map("/".join),
    TAGS,
    st.none() | st.just(DIGEST),
)


@given(FILES | REFERENCES)
def test_the_text_of_every_location_is_parsed_to_it(location: Location) -> None:
    assert parse_location(location_text(location)) == location


@given(PATHS)
def test_every_text_is_a_location_or_an_error(text: str) -> None:
    try:
        location = parse_location(text)
    except InputError:
        return
    assert parse_location(location_text(location)) == location


def test_paths_are_not_parsed() -> None:
    assert location_of(Path("oci:a")) == FileLocation(Path("oci:a"))
    assert location_of("oci:a") == FileLocation(Path("a"), Format.OCI_LAYOUT)
    assert location_of(FileLocation(Path("oci:a"))) == FileLocation(Path("oci:a"))


@pytest.mark.parametrize(
    "text", ["debian:12", "ghcr.io/a/b:v1", f"a@{DIGEST}", "localhost:5000/a:1"]
)
def test_the_hint_for_references(text: str) -> None:
    hint = f"; if this is an image in a registry, write docker://{text}"
    assert registry_hint(Path(text)) == hint


@pytest.mark.parametrize("text", ["image.tar", "a/b", "/a/b:c", "../a:b", "a/b c:d"])
def test_no_hint_for_paths(text: str) -> None:
    assert registry_hint(Path(text)) == ""


@pytest.mark.parametrize("text", ["dir:a", "containers-storage:a"])
def test_a_destination_of_skopeo_comes_after_a_layout(text: str) -> None:
    with pytest.raises(
        InputError, match=f"does not write; .*: skopeo copy oci:DIRECTORY:TAG {text}"
    ):
        parse_destination(text)
    assert parse_destination("oci:a:b") == FileLocation(Path("a"), Format.OCI_LAYOUT, "b")


@pytest.mark.parametrize(
    "text", ["oci:lay", "oci-archive:x", "docker-archive:x", "docker-daemon:x"]
)
def test_other_locations_are_no_names_of_docker_hub(text: str) -> None:
    with pytest.raises(InputError, match=f"{text} is not an image in a registry; `nixdock copy`"):
        registry_reference(text)
    for wrong in (lambda: target_reference(text), lambda: nixdock.pull_image(text, "unused")):
        with pytest.raises(InputError, match="is not an image in a registry"):
            wrong()


def test_a_name_of_docker_hub() -> None:
    reference = RegistryReference("docker.io", "library/docker", "dind")
    assert registry_reference("docker:dind") == registry_reference("docker://docker:dind")
    assert registry_reference("docker:dind") == reference


@pytest.mark.parametrize(
    "text", ["h.example/x/y:v1", "debian:12", f"h.example/x@sha256:{'0' * 64}"]
)
def test_tags_are_those_of_a_repository(text: str) -> None:
    with pytest.raises(InputError, match="names one image; the tags are those of "):
        nixdock.list_tags(text)
