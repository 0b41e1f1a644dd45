"""What a copy of a manifest or an index has to have, and what is refused."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson
import pytest

from nixdock.errors import ImageError
from nixdock.oci.descriptor import Blob
from nixdock.oci.documents import DescriptorDocument
from nixdock.transfer.platforms import choose
from nixdock.transfer.tree import read_tree

from ..registry.fake_registry import digest_of
from .samples import INDEX, MANIFEST, sample

LAYER = "application/vnd.oci.image.layer.v1.tar"
Result = TypeVar("Result")


class Documents:
    """A source that has documents only."""

    place = "here"

    def __init__(self) -> None:
        self.manifests: dict[str, Blob] = {}

    def add(self, data: bytes, media_type: str = MANIFEST) -> dict[str, Any]:
        self.manifests[digest_of(data)] = Blob(media_type, data)
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    def index(self, entries: Sequence[Mapping[str, Any]]) -> Blob:
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        return Blob(INDEX, orjson.dumps(document))

    def manifest(self, descriptor: DescriptorDocument) -> Blob:
        return self.manifests[descriptor.digest]

    def has(self, digest: str) -> bool:
        return digest in self.manifests

    def open(self, digest: str) -> io.RawIOBase:
        raise AssertionError(f"{digest} was read")

    def delivered(self, digest: str, take: Callable[[], Result]) -> Result:
        return take()

    def mount_from(self, digest: str, host: str) -> str | None:
        raise AssertionError(f"{host} was asked")


def test_children_come_before_parents_and_layers_before_configs() -> None:
    source = Documents()
    one, two = sample("base", "one"), sample("base", "two")
    inner = source.index([source.add(one.manifest), source.add(two.manifest)])
    entry = source.add(inner.data, INDEX)
    outer = source.index([entry, source.add(one.manifest)])
    tree = read_tree(source, outer)
    digests = [manifest.digest for manifest in tree.all_manifests()]
    assert digests == [one.digest, two.digest, inner.digest, outer.digest]
    base, first = map(digest_of, one.layers)
    second = digest_of(two.layers[1])
    assert [blob.digest for blob in tree.all_blobs()] == [
        base,
        first,
        digest_of(one.config),
        second,
        digest_of(two.config),
    ]


def test_too_deep_an_index_is_refused() -> None:
    source = Documents()
    entry = source.add(sample("one").manifest)
    for _ in range(4):
        index = source.index([entry])
        entry = source.add(index.data, INDEX)
    assert len(read_tree(source, index).all_manifests()) == 5
    with pytest.raises(ImageError, match="is within 4 others; no more are read"):
        read_tree(source, source.index([entry]))


def test_too_many_descriptors_are_refused() -> None:
    source = Documents()
    entry = source.add(sample("one").manifest)
    with pytest.raises(ImageError, match="here has more than 1000 descriptors in one document"):
        read_tree(source, source.index([entry] * 1001))
    layer = entry | {"mediaType": LAYER}
    large = source.add(sample(layers=[layer] * 999).manifest)
    assert len(read_tree(source, source.index([large])).children) == 1
    with pytest.raises(ImageError, match="here has more than 1000 descriptors in one document"):
        read_tree(source, Blob(MANIFEST, sample(layers=[layer] * 1000).manifest))
    with pytest.raises(ImageError, match=r"here has more than 50000 descriptors$"):
        read_tree(source, source.index([large] * 50))


def test_an_index_may_have_many_images_of_many_layers() -> None:
    """Nine platforms of an image with 120 layers, for example."""
    source = Documents()
    manifests = [sample(*(f"{a}{i}" for i in range(120)), size=1).manifest for a in "abcdefghi"]
    tree = read_tree(source, source.index([source.add(each) for each in manifests]))
    assert len(tree.all_blobs()) == 9 * 121


def test_too_many_descriptors_are_refused_before_a_platform_is_chosen() -> None:
    source = Documents()
    entry = source.add(sample("one").manifest)
    entry["platform"] = {"architecture": "amd64", "os": "linux"}
    for _ in range(3):
        index = source.index([entry] * 11)
        entry = source.add(index.data, INDEX)
    with pytest.raises(ImageError, match="here has more than 1000 descriptors"):
        choose(source, index, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 3}, "bytes, but should have 3"),
        ({"size": -1}, "is -1"),
        ({"digest": "sha256:../../etc"}, "is not a digest"),
        ({"mediaType": "text/plain"}, "is not that of an image or an index of images"),
    ],
)
def test_a_wrong_entry_is_refused(change: dict[str, Any], message: str) -> None:
    source = Documents()
    entry = source.add(sample("one").manifest) | change
    with pytest.raises(ImageError, match=message):
        read_tree(source, source.index([entry]))


def test_contradicting_sizes_are_refused() -> None:
    source = Documents()
    image = sample("one")
    document = orjson.loads(image.manifest)
    document["layers"][0]["size"] += 1
    other = orjson.dumps(document)
    tree = read_tree(source, source.index([source.add(image.manifest), source.add(other)]))
    size = len(image.layers[0])
    with pytest.raises(ImageError, match=rf"has {size + 1} bytes here, but {size} elsewhere"):
        tree.all_blobs()
