"""The config of the image that has a name in a runtime, whatever documents there are."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import RegistryError, ToolError
from nixdock.oci.descriptor import Blob, Platform
from nixdock.oci.digests import hex_of
from nixdock.oci.own_keys import MEMORY_KEY
from nixdock.oci.reference import Reference
from nixdock.runtime.catalogue import Document, Offer
from nixdock.runtime.document_cache import DocumentCache
from nixdock.runtime.replaced import keep_documents, replaced_config

NAME = Reference.parse("a:b")
ARM = Platform("arm64")


@dataclass
class Runtime:
    """A runtime that has one image, and gives out some documents."""

    identity: str | None
    documents: dict[str, bytes] = field(default_factory=dict)

    def identity_of(self, name: Reference) -> str | None:
        assert name == NAME
        return self.identity

    def document(self, digest: str) -> bytes | None:
        return self.documents.get(digest)


def blob(document: Any) -> Blob:
    return Blob("", json.dumps(document).encode())


def config(architecture: str) -> Blob:
    rootfs = {"type": "layers", "diff_ids": []}
    return blob(
        {"architecture": architecture, "rootfs": rootfs, "config": {}, MEMORY_KEY: architecture}
    )


def descriptor(of: Blob, **more: Any) -> dict[str, Any]:
    return {"mediaType": "x", "digest": of.digest, "size": len(of.data), **more}


def manifest(of: Blob) -> Blob:
    return blob({"schemaVersion": 2, "config": descriptor(of), "layers": []})


def index(*children: tuple[str, Blob]) -> Blob:
    entries = [
        descriptor(each, platform={"architecture": name, "os": "linux"}) for name, each in children
    ]
    return blob({"schemaVersion": 2, "manifests": entries})


AMD, ARM64 = config("amd64"), config("arm64")
INDEX = index(("unknown", AMD), ("amd64", manifest(AMD)), ("arm64", manifest(ARM64)))
ALL = [AMD, ARM64, manifest(AMD), manifest(ARM64), INDEX, index(("arm64", INDEX))]


def memory_of(runtime: Any, cache: DocumentCache, platform: Platform = ARM) -> Any:
    found = replaced_config(runtime, NAME, platform, cache)
    return None if found is None else found.memory


@pytest.mark.parametrize("top", ALL, ids=["config", "", "manifest", "", "index", "nested"])
@pytest.mark.parametrize("in_cache", [False, True])
def test_it_is_found_from_each_document(tmp_path: Path, top: Blob, in_cache: bool) -> None:
    cache, runtime = DocumentCache(tmp_path), Runtime(top.digest)
    assert memory_of(runtime, cache) is None
    if in_cache:
        cache.add(ALL)
    else:
        runtime.documents = {each.digest: each.data for each in ALL}
    own = "amd64" if top in {AMD, manifest(AMD)} else "arm64"
    assert memory_of(runtime, cache) == own
    runtime.identity = None
    assert memory_of(runtime, cache) is None


def test_no_image_of_an_index_is_for_another_platform() -> None:
    runtime = Runtime(INDEX.digest, {each.digest: each.data for each in ALL})
    assert memory_of(runtime, DocumentCache(None), Platform("s390x")) is None


@given(st.sampled_from([AMD, manifest(AMD), INDEX]), st.data())
def test_what_is_damaged_is_not_there(
    tmp_path_factory: pytest.TempPathFactory, damaged: Blob, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("cache")
    cache, runtime = DocumentCache(directory), Runtime(INDEX.digest)
    cache.add(ALL)
    file = directory / "documents" / hex_of(damaged.digest)
    other = data.draw(st.binary(max_size=50) | st.sampled_from([each.data for each in ALL]))
    file.write_bytes(other)
    memory = memory_of(runtime, cache, Platform())
    assert memory == ("amd64" if other == damaged.data else None)
    # Nor is what a runtime gives out in its place.
    runtime.documents = {damaged.digest: other}
    assert memory_of(runtime, cache, Platform()) == memory


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.sampled_from([AMD.digest, "sha256:"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["rootfs", "config", "manifests", "layers", "digest", "platform"]),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_any_document_is_as_good_as_nothing(value: Any) -> None:
    document = blob(value)
    runtime = Runtime(document.digest, {document.digest: document.data})
    assert memory_of(runtime, DocumentCache(None)) is None


def test_a_runtime_that_does_not_answer() -> None:
    class Silent(Runtime):
        def document(self, digest: str) -> bytes | None:
            raise ToolError("no answer")

    assert memory_of(Silent(AMD.digest), DocumentCache(None)) is None
    assert memory_of(Runtime("not a digest"), DocumentCache(None)) is None


@pytest.mark.parametrize("gives_out", [False, True])
@pytest.mark.parametrize("remembers", [False, True])
def test_only_what_helps_is_kept(tmp_path: Path, gives_out: bool, remembers: bool) -> None:
    own = AMD if remembers else blob({"rootfs": {"type": "layers"}})
    top = manifest(own)
    offer = Offer((), top, {}, {own.digest: Document(own.data)}, own.digest)
    runtime: Any = Runtime(None, {top.digest: top.data} if gives_out else {})
    cache = DocumentCache(tmp_path)
    keep_documents(offer, runtime, cache)
    is_kept = remembers and not gives_out
    for each in (own, top):
        assert (cache.find(each.digest) == each.data) is is_kept


def test_a_config_that_can_not_be_read_is_not_kept(tmp_path: Path) -> None:
    """The image is loaded already."""

    class Gone(Document, frozen=True):
        def open(self) -> io.RawIOBase:
            raise RegistryError("gone", place="host")

    class Large(Document, frozen=True):
        @property
        def size(self) -> int:
            return 1 << 30

        def open(self) -> io.RawIOBase:
            raise AssertionError("it is not read")

    top, cache, runtime = manifest(AMD), DocumentCache(tmp_path), Runtime(None)
    for kind in (Gone, Large):
        offer = Offer((), top, {}, {AMD.digest: kind(AMD.data)}, AMD.digest)
        keep_documents(offer, cast(Any, runtime), cache)
        assert cache.find(AMD.digest) is None


def test_few_documents_and_small_ones_are_kept(tmp_path: Path) -> None:
    cache = DocumentCache(tmp_path, most=20)
    documents = [Blob("", b"%d" % number) for number in range(50)]
    for number, each in enumerate(documents):
        cache.add([each])
        os.utime(tmp_path / "documents" / hex_of(each.digest), ns=(number, number))
    found = [cache.find(each.digest) is not None for each in documents]
    assert 15 <= sum(found) <= 20
    assert found == sorted(found)
    large = Blob("", b" " * ((1 << 20) + 1))
    cache.add([large])
    assert cache.find(large.digest) is None
