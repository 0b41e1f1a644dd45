"""Image references."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import InputError
from nixdock.oci.reference import Reference


@pytest.mark.parametrize(
    ("text", "repository", "tag", "canonical"),
    [
        ("hello", "hello", "latest", "docker.io/library/hello:latest"),
        ("Hello:V1", "hello", "V1", "docker.io/library/hello:V1"),
        ("me/hello:1", "me/hello", "1", "docker.io/me/hello:1"),
        ("ghcr.io/me/hello", "ghcr.io/me/hello", "latest", "ghcr.io/me/hello:latest"),
        ("docker.io/me/hello", "docker.io/me/hello", "latest", "docker.io/me/hello:latest"),
        ("docker.io/hello", "docker.io/hello", "latest", "docker.io/library/hello:latest"),
        ("index.docker.io/hello:1", "index.docker.io/hello", "1", "docker.io/library/hello:1"),
        ("index.docker.io/me/hi:1", "index.docker.io/me/hi", "1", "docker.io/me/hi:1"),
        ("localhost/x:t", "localhost/x", "t", "localhost/x:t"),
        ("localhost:5000/x", "localhost:5000/x", "latest", "localhost:5000/x:latest"),
        ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b", "t", "127.0.0.1:5000/a/b:t"),
        ("my-host.example/x", "my-host.example/x", "latest", "my-host.example/x:latest"),
        ("registry:5000/x", "registry:5000/x", "latest", "registry:5000/x:latest"),
        ("host:5000", "host", "5000", "docker.io/library/host:5000"),
        ("a__b/c--d.e_f", "a__b/c--d.e_f", "latest", "docker.io/a__b/c--d.e_f:latest"),
    ],
)
def test_parse(text: str, repository: str, tag: str, canonical: str) -> None:
    reference = Reference.parse(text)
    assert (reference.repository, reference.tag) == (repository, tag)
    assert reference.canonical == canonical
    assert str(reference) == f"{repository}:{tag}"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "a b",
        "a_",
        "-a",
        "a..b",
        "a___b",
        "é",
        "\u212aernel",
        "a\n",
        "x" * 256,
        "a:b",
        "a@b",
        "../a",
        "-.-/a",
        "..:5/a",
        "-:5/a",
        "host-.example/a",
        "host:/a",
        "host:port/a",
    ],
)
def test_invalid_names(name: str) -> None:
    with pytest.raises(InputError, match="is not an image name"):
        Reference.of(name, "t")


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a b", "a/b", "a:b", "é", "t\n", "x" * 129])
def test_invalid_tags(tag: str) -> None:
    with pytest.raises(InputError, match="is not a tag"):
        Reference.of("name", tag)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v1", "registry.example:5000/x:v1"),
        ("Other/Y:v1", "other/y:v1"),
        ("localhost:5000/y:V1", "localhost:5000/y:V1"),
    ],
)
def test_a_tag_alone_or_with_another_name(text: str, expected: str) -> None:
    assert str(Reference.tagged("registry.example:5000/x", text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y/z", "'y/z' is not a tag"),
        ("y:", "'' is not a tag"),
        (":v1", "'' is not an image name"),
        ("localhost:5000/y", "'5000/y' is not a tag"),
    ],
)
def test_neither_a_tag_nor_a_name_with_a_tag(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Reference.tagged("x", text)


def test_longest_name_and_tag() -> None:
    assert Reference.of("x" * 255, "T" * 128) == Reference("x" * 255, "T" * 128)


def test_a_hostile_name_is_refused_at_once() -> None:
    """A pattern with ambiguous separators would backtrack for ever."""
    for name in ("a-" * 127, "a." * 120 + ":", "-" * 254 + "a", "a/" * 127):
        with pytest.raises(InputError, match="is not an image name"):
            Reference.of(name, "t")


@given(st.text(max_size=20))
def test_valid_references_can_be_parsed_again(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except InputError:
        return
    assert Reference.parse(str(reference)) == reference
