"""The order of an index, which depends on its images alone, and what they share."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import ImageError, InputError
from nixdock.index.entries import IndexEntry
from nixdock.index.joining import JoinedSource, joined_entries, joined_tree, shared_annotations
from nixdock.oci.attestation import ATTESTATION_OF, ATTESTATION_TYPE
from nixdock.oci.descriptor import Blob, Platform
from nixdock.oci.media_types import MANIFEST_MEDIA_TYPE
from nixdock.oci.platforms import full_platform
from nixdock.transfer.tree import Tree

PLATFORMS = st.builds(
    Platform,
    st.sampled_from(["386", "amd64", "arm", "arm64"]),
    st.sampled_from(["linux", "windows"]),
    st.sampled_from([None, "v6", "v7", "v8"]),
    st.sampled_from([None, "10.0.1", "10.0.2"]),
)


def image(platform: Platform, origin: str, **annotations: str) -> IndexEntry:
    content = {"origin": origin, "platform": platform.document(), "annotations": annotations}
    manifest = Blob(MANIFEST_MEDIA_TYPE, orjson.dumps(content))
    descriptor = manifest.descriptor(platform=platform).document()
    return IndexEntry(origin, platform, descriptor, Tree(manifest))


def attestation(of: IndexEntry, number: int) -> IndexEntry:
    manifest = Blob(MANIFEST_MEDIA_TYPE, orjson.dumps({"of": of.digest, "number": number}))
    about = {ATTESTATION_TYPE: "attestation-manifest", ATTESTATION_OF: of.digest}
    return IndexEntry(of.origin, None, manifest.descriptor(about).document(), Tree(manifest))


@given(st.lists(PLATFORMS, min_size=1, unique_by=full_platform), st.data())
def test_the_order_is_that_of_the_platforms(
    platforms: Sequence[Platform], data: st.DataObject
) -> None:
    images = [image(platform, f"image {i}") for i, platform in enumerate(platforms)]
    about = data.draw(st.lists(st.sampled_from(images)))
    others = [attestation(each, number) for number, each in enumerate(about)]
    joined = joined_entries([*images, *others])
    again = joined_entries(data.draw(st.permutations([*images, *others, *images[:1]])))
    assert again == joined
    count = len(images)
    keys = [
        (each.os, each.architecture, each.variant or "", each.os_version or "")
        for each in (full_platform(entry.platform) for entry in joined[:count] if entry.platform)
    ]
    assert len(keys) == count
    assert keys == sorted(keys)
    places = {entry.digest: place for place, entry in enumerate(joined[:count])}
    subjects = [places[entry.annotations[ATTESTATION_OF]] for entry in joined[count:]]
    assert subjects == sorted(subjects)
    assert joined_tree(joined, {}).manifest == joined_tree(again, {}).manifest


def test_images_of_one_index_for_a_platform_keep_their_order() -> None:
    """As those with layers in gzip and, for who knows it, in zstd."""
    platform = Platform("amd64", "linux")
    both = [image(platform, "an index", layers=coding) for coding in ("gzip", "zstd")]
    other = image(Platform("386", "linux"), "another")
    for images in (both, both[::-1]):
        assert joined_entries([*images, other]) == [other, *images]


def test_one_statement_about_two_images_stays_with_both() -> None:
    images = [image(Platform(each), each) for each in ("amd64", "arm64")]
    statement = Tree(Blob(MANIFEST_MEDIA_TYPE, b'{"licence": "MIT"}'))
    about = [
        IndexEntry(
            each.origin,
            None,
            statement.manifest.descriptor(
                {ATTESTATION_TYPE: "attestation-manifest", ATTESTATION_OF: each.digest}
            ).document(),
            statement,
        )
        for each in images
    ]
    assert joined_entries([*images, *about]) == [*images, *about]
    assert joined_entries([*about[::-1], *images[::-1], *about]) == [*images, *about]
    # Of images that are not there, too.
    assert joined_entries(about) == joined_entries(about[::-1])


def test_the_descriptor_that_says_most_is_taken() -> None:
    short = image(Platform("arm64"), "one")
    manifest = short.tree.manifest
    platform = Platform("arm64", variant="v8")
    long = IndexEntry(
        "two",
        platform,
        manifest.descriptor({"key": "value"}, platform=platform).document(),
        short.tree,
    )
    for entries in ([short, long], [long, short]):
        (joined,) = joined_entries(entries)
        assert joined.descriptor == long.descriptor
        assert (joined.origin, joined.platform) == (entries[0].origin, platform)


def test_versions_of_an_os_are_platforms_of_their_own() -> None:
    versions = [Platform("amd64", "windows", None, version) for version in ("10.0.2", "10.0.1")]
    joined = joined_entries(image(each, str(each)) for each in versions)
    assert [each.platform and each.platform.os_version for each in joined] == ["10.0.1", "10.0.2"]
    with pytest.raises(InputError, match=r"one and two are both for windows\(10\.0\.1\)/amd64;"):
        joined_entries([image(versions[1], "one"), image(versions[1], "two")])


def test_only_annotations_of_the_image_spec_are_shared() -> None:
    title, url = "org.opencontainers.image.title", "org.opencontainers.image.url"
    one = image(Platform("amd64"), "one", **{title: "x", url: "1", "mine": "y"})
    two = image(Platform("arm64"), "two", **{title: "x", url: "2", "mine": "y"})
    assert shared_annotations([one, two, attestation(one, 0)]) == {title: "x"}
    assert shared_annotations([one]) == {title: "x", url: "1"}


def test_an_index_may_be_too_large() -> None:
    images = [image(Platform("amd64"), "one")]
    with pytest.raises(InputError, match="but registries allow at most 4194304"):
        joined_tree(images, {"key": "x" * (4 << 20)})


def test_a_blob_that_no_image_has() -> None:
    source = JoinedSource([image(Platform(), "one")])
    assert not source.has("sha256:x")
    with pytest.raises(ImageError, match="the images have no blob sha256:x"):
        source.open("sha256:x")
