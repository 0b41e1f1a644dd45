from __future__ import annotations

import pytest

from nixdock.errors import InputError
from nixdock.oci.registry_reference import RegistryReference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "digest"),
    [
        ("ghcr.io/me/app:v1", "ghcr.io", "me/app", "v1", None),
        ("docker://ghcr.io/me/app", "ghcr.io", "me/app", "latest", None),
        (f"ghcr.io/me/app@{DIGEST}", "ghcr.io", "me/app", None, DIGEST),
        (f"ghcr.io/me/app:v1@{DIGEST}", "ghcr.io", "me/app", "v1", DIGEST),
        ("localhost:5000/App:V1", "localhost:5000", "app", "V1", None),
        ("127.0.0.1:5000/a", "127.0.0.1:5000", "a", "latest", None),
        ("[::1]:5000/a/b:c", "[::1]:5000", "a/b", "c", None),
        ("registry:5000/a", "registry:5000", "a", "latest", None),
        ("alpine", "docker.io", "library/alpine", "latest", None),
        ("me/app:2", "docker.io", "me/app", "2", None),
        ("docker.io/alpine", "docker.io", "library/alpine", "latest", None),
        ("registry-1.docker.io/library/alpine", "docker.io", "library/alpine", "latest", None),
    ],
)
def test_parsing(
    text: str, host: str, repository: str, tag: str | None, digest: str | None
) -> None:
    assert RegistryReference.parse(text) == RegistryReference(host, repository, tag, digest)


@pytest.mark.parametrize(
    "text",
    [
        *("", "docker://", "ghcr.io/", "ghcr.io/a:", "ghcr.io//a", "a@", "a@sha256:12", "a:b:c"),
        *(
            "ghcr.io/a b",
            "ghcr.io/../a",
            "ghcr.io/a:-v",
            "http://ghcr.io/a",
            f"a@{DIGEST}@{DIGEST}",
        ),
        *("user@ghcr.io/a", "ghcr.io:port/a", "gh\u212acr.io/a", "ghcr.io/a?x", "ghcr.io/a#x"),
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(InputError):
        RegistryReference.parse(text)


@pytest.mark.parametrize("text", ["ghcr.io/me/app:v1", f"ghcr.io/me/app@{DIGEST}", "[::1]:80/a:b"])
def test_text(text: str) -> None:
    assert str(RegistryReference.parse(text)) == text
