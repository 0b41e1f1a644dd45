from __future__ import annotations

from pathlib import Path

import pytest

from nixdock.errors import InputError
from nixdock.oci.layout import Format
from nixdock.oci.location import FileLocation, parse_location
from nixdock.oci.registry_reference import RegistryReference


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


@pytest.mark.parametrize(
    "text",
    [
        *("", "docker:a", "docker:/a/b", "docker://", "docker://a b", "oci:", "oci:a:"),
        *("containers-storage:a", "dir:a", "docker-daemon:a:b"),
    ],
)
def test_what_is_no_location(text: str) -> None:
    with pytest.raises(InputError):
        parse_location(text)


@pytest.mark.parametrize("text", ["a", "oci:a:v1", "oci-archive:a", "docker-archive:a:b:c"])
def test_text(text: str) -> None:
    assert str(parse_location(text)) == text
