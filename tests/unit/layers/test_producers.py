"""The interface is wide enough for other producers of layers than those that exist."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from nixdock.coding.codings import Coding
from nixdock.layers.created import CreatedLayer, SizedTar
from nixdock.layers.layer import PLAIN_PACKING, Layer, Packing, SizedBlob
from nixdock.layers.pack import pack_all
from nixdock.layers.passed_on import PassedOnLayer
from nixdock.oci.descriptor import Platform
from nixdock.oci.image import Image
from nixdock.oci.layer_blob import LayerBlob, LayerHistory
from nixdock.oci.media_types import layer_media_type
from nixdock.oci.reference import Reference
from nixdock.system.buffers import Write
from nixdock.tar.fields import BLOCK, padded_size
from nixdock.tar.header import Entry, Headers, MemberMeta
from nixdock.tar.kinds import Kind
from nixdock.tar.write import write_end
from nixdock.write.docker_archive import write_docker_archive
from nixdock.write.legacy_archive import write_legacy_archive
from tests.unit.docker_archive import layer as tar_of
from tests.unit.layers.blobs import HISTORY, MemoryBlob, Pieces, digest

GZIP = layer_media_type(Coding.GZIP)


def assemble(layers: Sequence[LayerBlob]) -> Image:
    return Image.of(
        layers,
        references=[Reference.of("x/y", "v1")],
        platform=Platform(),
        container={},
        created="1970-01-01T00:00:01Z",
    )


def layers_of(archive: bytes) -> list[bytes]:
    """Return the layers of a docker-archive, bottom to top."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = [member for member in tar if member.name.endswith("/layer.tar")]
        return [stream.read() for member in members if (stream := tar.extractfile(member))]


# A layer of an image in a registry: everything except the bytes is in the manifest and the config.


@dataclass
class Registry:
    """Blobs by their digests, and the digests that were requested."""

    blobs: dict[str, bytes]
    requests: list[str] = field(default_factory=list)

    def get(self, name: str) -> io.RawIOBase:
        self.requests.append(name)
        return Pieces(self.blobs[name])


class RegistryBlob(MemoryBlob):
    """A blob that is fetched when it is opened."""

    registry: Registry

    @classmethod
    def described(cls, registry: Registry, name: str, size: int, diff_id: str) -> RegistryBlob:
        blob = cls(b"", diff_id, name, size, Coding.GZIP, subject=f"the blob {name}")
        blob.registry = registry
        return blob

    def open_raw(self) -> io.RawIOBase:
        assert self.declared_digest is not None
        return self.registry.get(self.declared_digest)


def test_a_blob_in_a_registry_is_fetched_when_its_bytes_are_needed(tmp_path: Path) -> None:
    stored = MemoryBlob.of(tar_of(("a", "text")), Coding.GZIP)
    name = digest(stored.data)
    registry = Registry({name: stored.data})
    blob = RegistryBlob.described(registry, name, len(stored.data), stored.diff_id)
    layer: Layer = PassedOnLayer.of(blob)
    assert (layer.diff_id, layer.weight, layer.history) == (stored.diff_id, blob.size, HISTORY)
    sized = layer.sized({GZIP})
    assert sized.size == len(stored.data)
    assert registry.requests == []

    (packed,) = pack_all([layer], tmp_path, cores=1)
    assert registry.requests == [name]
    assert (packed.digest, packed.diff_id, packed.media_type) == (name, stored.diff_id, GZIP)
    assert (tmp_path / name.removeprefix("sha256:")).read_bytes() == stored.data

    out = io.BytesIO()
    write_docker_archive(out.write, [layer], assemble, mtime=1)
    assert registry.requests == [name] * 2
    assert layers_of(out.getvalue()) == [stored.data]


# A layer whose digests are known by its key, from an earlier build.


@dataclass(frozen=True)
class KeyedLayer:
    """A layer that is packed only if its bytes are needed or its key is new."""

    key: str
    new: Layer
    known: dict[str, LayerBlob]

    @property
    def history(self) -> LayerHistory:
        return self.new.history

    @property
    def weight(self) -> int:
        return 0 if self.key in self.known else self.new.weight

    @property
    def diff_id(self) -> str | None:
        return self.known[self.key].diff_id if self.key in self.known else self.new.diff_id

    @property
    def is_remote(self) -> bool:
        return self.new.is_remote

    @property
    def existing_digest(self) -> str | None:
        return self.new.existing_digest

    @property
    def existing_annotations(self) -> Mapping[str, str]:
        return self.new.existing_annotations

    def existing_blob(self) -> LayerBlob | None:
        return self.new.existing_blob()

    def sized(self, media_types: Collection[str], /) -> SizedBlob:
        return self.new.sized(media_types)

    def names(self) -> Iterable[bytes]:
        return self.new.names()

    def tar_pieces(self) -> None:
        """The layer is not packed."""

    def pack(self, write: Write | None, packing: Packing = PLAIN_PACKING, /) -> LayerBlob:
        if write is None and self.key in self.known:
            return self.known[self.key]
        return self.known.setdefault(self.key, self.new.pack(write, packing))


class CountedTar(CreatedLayer, frozen=True):
    """A new layer; `reads` has an item for each time that its tar was read."""

    tar: bytes
    reads: list[None] = msgspec.field(default_factory=list)
    history: LayerHistory = HISTORY

    @property
    def weight(self) -> int:
        return len(self.tar)

    def write_tar(self, write: Write) -> None:
        self.reads.append(None)
        write(self.tar)

    def measured_tar(self) -> SizedTar:
        return SizedTar(len(self.tar), self.history, self.write_tar)


def test_a_layer_that_is_known_by_its_key_is_not_read(tmp_path: Path) -> None:
    tar = tar_of(("a", "text"))
    new = CountedTar(tar)
    known: dict[str, LayerBlob] = {}
    first: Layer = KeyedLayer("key", new, known)
    assert first.diff_id is None
    packed = first.pack(None)
    assert len(new.reads) == 1

    again: Layer = KeyedLayer("key", new, known)
    assert again.diff_id == digest(tar)
    assert again.pack(None) == packed
    assert pack_all([again, again], cores=1) == [packed, packed]
    assert len(new.reads) == 1, "the digests are known"

    out = io.BytesIO()
    write_legacy_archive(out.write, [again], tmp_path, assemble, mtime=1)
    assert len(new.reads) == 2, "the bytes are needed, and the diff_id is known before"
    assert layers_of(out.getvalue()) == [tar]


# A store path that comes as a stream, as a NAR from a binary cache does, with a listing before it.


class StreamedLayer(CreatedLayer, frozen=True):
    """Files whose sizes are known, and whose contents come one after the other, once."""

    listing: tuple[tuple[bytes, int], ...]
    contents: BinaryIO
    history: LayerHistory = HISTORY

    @property
    def weight(self) -> int:
        return sum(size for _, size in self.listing)

    def _entries(self) -> list[Entry]:
        return [Entry(name, Kind.FILE, 0o444, size) for name, size in self.listing]

    def write_tar(self, write: Write) -> None:
        headers = Headers(MemberMeta())
        total = 0
        for entry in self._entries():
            write(headers.encode(entry))
            write(self.contents.read(entry.size))
            write(bytes(-entry.size % BLOCK))
            total += headers.member_size(entry)
        write_end(total, write)

    def measured_tar(self) -> SizedTar:
        headers = Headers(MemberMeta())
        size = padded_size(sum(map(headers.member_size, self._entries())))
        return SizedTar(size, self.history, self.write_tar)


def test_a_streamed_store_path_is_measured_first_and_read_once(tmp_path: Path) -> None:
    files = {"nix/store/x/a": b"a" * 1000, "nix/store/x/b": b"", "nix/store/x/c": b"c" * 70_000}
    listing = tuple((name.encode(), len(data)) for name, data in files.items())

    def streamed() -> tuple[Layer, BinaryIO]:
        contents = io.BufferedReader(Pieces(b"".join(files.values()), 100))
        assert not contents.seekable()
        return StreamedLayer(listing, contents), contents

    layer, contents = streamed()
    sized = layer.sized(())
    assert sized.size % tarfile.RECORDSIZE == 0
    assert len(contents.peek(1)) > 0  # type: ignore[attr-defined]

    layer, contents = streamed()
    out = io.BytesIO()
    image = write_docker_archive(out.write, [layer], assemble, mtime=1)
    assert contents.read() == b"", "read to its end"
    (tar,) = layers_of(out.getvalue())
    assert len(tar) == sized.size
    assert image.layers[0].diff_id == digest(tar)
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        assert {
            m.name: stream.read() for m in archive if (stream := archive.extractfile(m))
        } == files

    layer, _ = streamed()
    assert pack_all([layer], tmp_path, cores=1)[0].diff_id == digest(tar)
