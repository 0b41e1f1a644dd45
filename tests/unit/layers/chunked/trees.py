"""Tars of any kind of members, and reading what is made of them without nixdock."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from nixdock.coding.libzstd import zstd
from nixdock.layers.compression import Compression
from nixdock.layers.tar_encoder import tar_encoder

BOTH = [Compression.ZSTD_CHUNKED, Compression.ESTARGZ]
LANDMARK, INDEX = ".no.prefetch.landmark", "stargz.index.json"
_OF_ZSTD = "io.github.containers.zstd-chunked"


@dataclass
class Blob:
    """A blob, and what its encoder says of it."""

    data: bytes
    annotations: Mapping[str, str]
    tar_digest: str | None


def encoded(
    compression: Compression, tar: bytes, workers: int = 1, cuts: tuple[int, ...] = ()
) -> Blob:
    """Encode a tar that is written in pieces of these sizes."""
    out = io.BytesIO()
    with tar_encoder(compression, out.write, workers) as encoder:
        at = 0
        for size in cuts:
            encoder.write(tar[at : at + size])
            at += size
        encoder.write(memoryview(tar)[at:])
    held = encoder.tar
    return Blob(out.getvalue(), encoder.annotations, None if held is None else held.digest)


def expanded(compression: Compression, data: bytes) -> bytes:
    """Decompress a blob as programs do that know gzip and zstd alone."""
    return gzip.decompress(data) if compression == Compression.ESTARGZ else zstd.decompress(data)


def toc_of(compression: Compression, blob: Blob) -> dict[str, Any]:
    """Read the table of contents as the formats' documentations say."""
    if compression == Compression.ESTARGZ:
        member = zlib.decompressobj(wbits=31).decompress(blob.data[toc_start(blob.data) :])
        with tarfile.open(fileobj=io.BytesIO(member)) as tar:
            (info,) = tar.getmembers()
            assert info.name == INDEX
            stream = tar.extractfile(info)
            assert stream is not None
            text = stream.read()
        assert digest(text) == blob.annotations["containerd.io/snapshot/stargz/toc.digest"]
    else:
        at, size, whole, kind = position(blob, "manifest")
        assert kind == 1
        data = blob.data[at : at + size]
        assert digest(data) == blob.annotations[f"{_OF_ZSTD}.manifest-checksum"]
        text = zstd.decompress(data)
        assert len(text) == whole
    found: dict[str, Any] = json.loads(text)
    assert found["version"] == 1
    return found


def toc_start(data: bytes) -> int:
    """Return where the table of contents begins, according to the footer of eStargz."""
    footer = data[-51:]
    assert gzip.decompress(footer) == b""
    length, first, second, size = struct.unpack("<HBBH", footer[10:16])
    assert (length, first, second, size) == (26, ord("S"), ord("G"), 22)
    assert footer[32:38] == b"STARGZ"
    return int(footer[16:32], 16)


def position(blob: Blob, name: str) -> list[int]:
    """Return what the annotation on a part of a zstd:chunked blob says."""
    return [*map(int, blob.annotations[f"{_OF_ZSTD}.{name}-position"].split(":"))]


def split_lines(blob: Blob) -> list[dict[str, Any]]:
    """Return the lines of tar-split's data."""
    at, size, whole = position(blob, "tarsplit")
    text = zstd.decompress(blob.data[at : at + size])
    assert len(text) == whole
    return [json.loads(line) for line in text.splitlines()]


def chunks_of(toc: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield the entry of each member, and its chunks; the first one is that entry."""
    entries: list[list[dict[str, Any]]] = []
    for entry in toc["entries"]:
        if entry["type"] == "chunk":
            assert entry["name"] == entries[-1][0]["name"]
            entries[-1].append(entry)
        else:
            entries.append([entry])
    for first, *rest in entries:
        yield first, [first, *rest]


def frame_at(compression: Compression, data: bytes, start: int) -> tuple[bytes, int]:
    """Decompress the frame that begins at a byte of a blob; return where it ends, too."""
    if compression == Compression.ESTARGZ:
        member = zlib.decompressobj(wbits=31)
        content = member.decompress(data[start:])
        assert member.eof
        return content, len(data) - len(member.unused_data)
    frame = zstd.ZstdDecompressor()
    content = frame.decompress(data[start:])
    assert frame.eof
    return content, len(data) - len(frame.unused_data)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Item:
    """A member of a tar: its header, and its contents."""

    info: tarfile.TarInfo
    data: bytes = field(default=b"", repr=False)


def tar_of(items: list[Item]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for item in items:
            tar.addfile(item.info, io.BytesIO(item.data))
    return out.getvalue()


def item(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any) -> Item:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime = kind, len(data), 1
    for key, value in fields.items():
        setattr(info, key, value)
    return Item(info, data)


_names = st.text("ab é日", min_size=1, max_size=4).map(str.strip).filter(bool)
_paths = st.lists(st.one_of(_names, st.just("n" * 120)), min_size=1, max_size=3).map("/".join)
_contents = st.one_of(
    st.just(b""),
    st.binary(max_size=40),
    st.builds(bytes.__mul__, st.binary(min_size=1, max_size=9), st.integers(1, 900)),
)
_kinds = st.sampled_from(
    [tarfile.REGTYPE] * 5
    + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)


@st.composite
def _items(draw: st.DrawFn, path: str) -> Item:
    kind = draw(_kinds)
    data = draw(_contents) if kind == tarfile.REGTYPE else b""
    fields: dict[str, Any] = {
        "mode": draw(st.integers(0, 0o7777)),
        "uid": draw(st.sampled_from([0, 1, 65534, 8**7])),
        "gid": draw(st.sampled_from([0, 100])),
        "mtime": draw(st.sampled_from([0, 1, -5, 1.5, 1_700_000_000.125, 8**11])),
    }
    if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE}:
        fields["linkname"] = draw(_paths)
    if kind == tarfile.CHRTYPE:
        fields["devmajor"], fields["devminor"] = draw(st.integers(1, 9)), draw(st.integers(0, 9))
    if draw(st.booleans()):
        fields["pax_headers"] = {"SCHILY.xattr.user.a": draw(st.text("xyz", max_size=3))}
    return item(f"/{path}", kind, data, **fields)


@st.composite
def trees(draw: st.DrawFn) -> list[Item]:
    """Members of all kinds, none twice."""
    paths = draw(st.lists(_paths, unique=True, max_size=8))
    return [draw(_items(path)) for path in paths]
