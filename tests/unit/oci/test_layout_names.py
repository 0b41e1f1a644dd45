"""What entries of an index call images."""

from __future__ import annotations

import pytest

from nixdock.oci.layout_names import entry_name, have_same_name, is_full_name

TAG, FULL = "org.opencontainers.image.ref.name", "io.containerd.image.name"
DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("tag", "full", "name"),
    [
        (None, None, None),
        ("v1", None, "v1"),
        ("a/b:v1", None, "a/b:v1"),
        (None, "ghcr.io/a/b:v1", "ghcr.io/a/b:v1"),
        ("v1", "ghcr.io/a/b:v1", "ghcr.io/a/b:v1"),
        ("b:v1", "docker.io/library/b:v1", "docker.io/library/b:v1"),
        ("b", "docker.io/library/b:latest", "docker.io/library/b:latest"),
        ("ghcr.io/a/b:v1", "ghcr.io/a/b:v1", "ghcr.io/a/b:v1"),
        # containerd's export of an image without a tag.
        (DIGEST, f"ghcr.io/a/b@{DIGEST}", f"ghcr.io/a/b@{DIGEST}"),
        (f"@{DIGEST}", f"ghcr.io/a/b@{DIGEST}", f"ghcr.io/a/b@{DIGEST}"),
        # Another tag, which counts.
        ("v2", "ghcr.io/a/b:v1", "ghcr.io/a/b:v2"),
        ("1", "ghcr.io/a/b:v1", "ghcr.io/a/b:1"),
        ("v2", "localhost:5000/b", "localhost:5000/b:v2"),
        ("v2", f"localhost:5000/b@{DIGEST}", "localhost:5000/b:v2"),
        ("v2", f"ghcr.io/a/b:v1@{DIGEST}", "ghcr.io/a/b:v2"),
        ("c/d:v2", "ghcr.io/a/b:v1", "c/d:v2"),
    ],
)
def test_the_name_of_an_entry(tag: str | None, full: str | None, name: str | None) -> None:
    annotations = {key: value for key, value in ((TAG, tag), (FULL, full)) if value is not None}
    assert entry_name(annotations) == name


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {}, False),
        ({TAG: "v1"}, {TAG: "v1", FULL: "a:v1"}, True),
        ({TAG: "v1", FULL: "b:v1"}, {TAG: "v1", FULL: "a:v1"}, True),
        ({FULL: "a:v1"}, {TAG: "v1", FULL: "a:v1"}, True),
        ({FULL: "b:v1"}, {TAG: "v1", FULL: "a:v1"}, False),
        # As skopeo writes the name.
        ({TAG: "a/b:v1"}, {TAG: "v1", FULL: "docker.io/a/b:v1"}, True),
        ({TAG: "a/b:v1"}, {TAG: "v1", FULL: "docker.io/a/c:v1"}, False),
        ({TAG: "b"}, {TAG: "latest", FULL: "docker.io/library/b:latest"}, False),
        ({TAG: "v2", FULL: "a:v1"}, {TAG: "v1", FULL: "a:v1"}, False),
        ({TAG: "v2", FULL: "a:v1"}, {FULL: "a:v1"}, False),
    ],
)
def test_entries_with_the_same_name(one: dict[str, str], other: dict[str, str], same: bool) -> None:
    assert have_same_name(one, other) is same
    assert have_same_name(other, one) is same


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("docker.io/a/b:v1", True),
        (f"ghcr.io/a/b@{DIGEST}", True),
        (f"ghcr.io/a/b:v1@{DIGEST}", True),
        (f"localhost:5000/b@{DIGEST}", True),
        ("[::1]:5000/a/b:v1", True),
        (f"[fe80::1]/a/b@{DIGEST}", True),
        ("ghcr.io/a/b", False),
        ("localhost:5000/b", False),
        ("ghcr.io/A/b:v1", False),
        ("[::1]:5000/a/b", False),
        ("[::g]/a/b:v1", False),
        (f"ghcr.io/A/b@{DIGEST}", False),
        ("ghcr.io/a/b@sha256:../x", False),
        ("ghcr.io/a/b:v1@", False),
        (f"@{DIGEST}", False),
        ("", False),
    ],
)
def test_full_names(text: str, valid: bool) -> None:
    assert is_full_name(text) == valid
