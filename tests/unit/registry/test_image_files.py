"""The files of an image in a registry."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from nixdock.errors import ImageError
from nixdock.oci.registry_reference import RegistryReference
from nixdock.registry.image_files import RegistryFiles
from nixdock.registry.manifests import get_manifest
from nixdock.registry.repository import Repository

from .fake_registry import FakeRegistry, digest_of
from .reaching import reach

TYPE = "application/vnd.oci.image."
MISSING = digest_of(b"missing")


@pytest.mark.parametrize(
    "take",
    [
        lambda stream: stream.read(10),
        lambda stream: stream.readall(),
        lambda stream: stream.readinto(bytearray(10)),
    ],
    ids=["read", "readall", "readinto"],
)
@pytest.mark.parametrize("keep", [False, True])
def test_a_blob_that_the_registry_lacks_is_missing_in_the_image(
    fake: FakeRegistry, take: Callable[[io.RawIOBase], object], keep: bool
) -> None:
    """However it is read, and whenever."""
    config = {"mediaType": f"{TYPE}config.v1+json", "digest": digest_of(b"{}"), "size": 2}
    layer = {"mediaType": f"{TYPE}layer.v1.tar", "digest": MISSING, "size": 7}
    document = {"mediaType": f"{TYPE}manifest.v1+json", "config": config, "layers": [layer]}
    fake.add_manifest("x", {"schemaVersion": 2, **document}, "v1")
    repository = Repository(reach(fake), "x")
    manifest = get_manifest(repository, "v1")
    assert manifest is not None
    reference = RegistryReference(fake.host, "x", "v1")
    files = RegistryFiles(repository, manifest, reference, keep=keep)
    for _ in range(2):
        with (
            pytest.raises(ImageError, match=f"the blob {MISSING}: "),
            files.open(f"blobs/sha256/{MISSING[7:]}") as stream,
        ):
            take(stream)
