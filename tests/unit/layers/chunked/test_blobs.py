"""Blobs that can be fetched in part: what they contain, as other programs would read it."""

from __future__ import annotations

import base64
import io
import random
import tarfile
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nixdock.errors import ImageError, PackError
from nixdock.layers.chunked import encoder as encoding
from nixdock.layers.chunked.crc64 import crc64
from nixdock.layers.chunked.frames import CHUNK_SIZE
from nixdock.layers.compression import Compression

from .trees import (
    BOTH,
    INDEX,
    LANDMARK,
    Blob,
    Item,
    chunks_of,
    digest,
    encoded,
    expanded,
    frame_at,
    item,
    split_lines,
    tar_of,
    toc_of,
    toc_start,
    trees,
)

TYPES = {
    tarfile.REGTYPE: "reg",
    tarfile.LNKTYPE: "hardlink",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "char",
    tarfile.DIRTYPE: "dir",
    tarfile.FIFOTYPE: "fifo",
}
SMALL_CHUNK = 1000
both = pytest.mark.parametrize("compression", BOTH, ids=str)


@pytest.fixture(autouse=True, scope="module")
def _small_chunks() -> object:
    """Cut files into chunks of a size that small files exceed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "CHUNK_SIZE", SMALL_CHUNK)
        yield


@both
@given(items=trees(), workers=st.sampled_from([2, 5]), cuts=st.lists(st.integers(0, 3000)))
@settings(deadline=None, max_examples=60)
def test_any_tree(
    compression: Compression, items: list[Item], workers: int, cuts: list[int]
) -> None:
    tar = tar_of(items)
    blob = encoded(compression, tar)
    assert encoded(compression, tar, workers, tuple(cuts)) == blob
    whole = expanded(compression, blob.data)
    if compression == Compression.ESTARGZ:
        assert digest(whole) == blob.tar_digest
        size = blob.annotations["io.containers.estargz.uncompressed-size"]
        assert len(whole) == int(size)
        with tarfile.open(fileobj=io.BytesIO(whole)) as read:
            names = read.getnames()
        assert (names[0], names[-1]) == (LANDMARK, INDEX)
        # The members are the same bytes, between the two files that the format adds.
        end = len(tar.rstrip(b"\0")) if items else 0
        assert whole[1024 : 1024 + end] == tar[:end]
    else:
        assert blob.tar_digest is None
        assert whole == tar
    check_toc(compression, blob, items)


def check_toc(compression: Compression, blob: Blob, items: list[Item]) -> None:
    listed = [*chunks_of(toc_of(compression, blob))]
    if compression == Compression.ESTARGZ:
        landmark, _ = listed.pop(0)
        assert (landmark["name"], landmark["size"]) == (LANDMARK, 1)
        assert frame_at(compression, blob.data, landmark["offset"])[0] == b"\x0f"
    assert len(listed) == len(items)
    offsets = [chunk["offset"] for _, chunks in listed for chunk in chunks if "offset" in chunk]
    assert offsets == sorted(set(offsets))
    for (entry, chunks), each in zip(listed, items, strict=True):
        check_header(entry, each.info)
        if each.data:
            check_contents(compression, blob, chunks, each.data)
        else:
            assert not {"digest", "offset", "chunkDigest"} & entry.keys()


def check_header(entry: dict[str, object], info: tarfile.TarInfo) -> None:
    name = info.name + ("/" if info.isdir() else "")
    assert (entry["type"], entry["name"]) == (TYPES[info.type], name)
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=info.mtime)
    assert datetime.fromisoformat(str(entry["modtime"])) == time
    xattrs = {
        key.removeprefix("SCHILY.xattr."): base64.b64encode(value.encode()).decode()
        for key, value in info.pax_headers.items()
    }
    is_device = info.type == tarfile.CHRTYPE
    expected = {
        "linkName": info.linkname,
        "mode": info.mode,
        "size": info.size,
        "uid": info.uid,
        "gid": info.gid,
        "devMajor": info.devmajor if is_device else 0,
        "devMinor": info.devminor if is_device else 0,
        "xattrs": xattrs,
    }
    found = {key: entry[key] for key in expected if key in entry}
    assert found == {key: value for key, value in expected.items() if value}


def check_contents(
    compression: Compression, blob: Blob, chunks: list[dict[str, object]], data: bytes
) -> None:
    assert chunks[0]["digest"] == digest(data)
    at = end = 0
    for chunk in chunks:
        part, end = frame_at(compression, blob.data, int(str(chunk["offset"])))
        assert chunk.get("chunkOffset", 0) == at
        assert chunk["chunkDigest"] == digest(part)
        if len(chunks) > 1:
            assert chunk["chunkSize"] == len(part) <= SMALL_CHUNK
        assert part == data[at : at + len(part)]
        at += len(part)
    assert at == len(data)
    if compression == Compression.ZSTD_CHUNKED:
        assert chunks[0]["endOffset"] == chunks[-1]["endOffset"] == end


@given(trees())
@settings(deadline=None, max_examples=40)
def test_tar_split_rebuilds_the_tar(items: list[Item]) -> None:
    tar = tar_of(items)
    blob = encoded(Compression.ZSTD_CHUNKED, tar)
    files = iter(items)
    rebuilt = b""
    lines = split_lines(blob)
    assert [line["position"] for line in lines] == [*range(len(lines))]
    for line in lines:
        if line["type"] == 2:
            rebuilt += base64.b64decode(line["payload"])
            continue
        each = next(files)
        assert line["name"].rstrip("/") == each.info.name
        assert line.get("size", 0) == len(each.data)
        sum_of_file = crc64(each.data).to_bytes(8, "big") if each.data else None
        assert line["payload"] == (sum_of_file and base64.b64encode(sum_of_file).decode())
        rebuilt += each.data
    assert rebuilt == tar
    toc = toc_of(Compression.ZSTD_CHUNKED, blob)
    at, size, *_ = map(int, [*blob.annotations.values()][2].split(":"))
    assert toc["tarSplitDigest"] == digest(blob.data[at : at + size])


def sample() -> bytes:
    """A tar with small files and one of several chunks of the usual size."""
    rng = random.Random(1)
    data = b"".join(b"%d " % rng.randrange(10**6) for _ in range(CHUNK_SIZE // 3))
    return tar_of(
        [
            item("/nix", tarfile.DIRTYPE, mode=0o755),
            item("/nix/a", data=b"a file\n" * 99, mode=0o555),
            item("/nix/empty", mode=0o444),
            item("/nix/large", data=data, mode=0o444),
            item("/nix/link", tarfile.SYMTYPE, linkname="a"),
        ]
    )


# Registries have these blobs: other bytes mean that layers are sent anew.
def test_digests_never_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK_SIZE", CHUNK_SIZE)
    found = {str(each): digest(encoded(each, sample(), 3).data)[7:] for each in BOTH}
    assert found == {
        "zstd:chunked": "86d412434a4641dbf6a08084af035101fda0aa0bea34d9276fb027c8cda8c18b",
        "estargz": "1240d8bc6107ac019821a7b989a49101db4e2d3ca2a588301482524d33eab6a8",
    }


@pytest.mark.parametrize("size", [SMALL_CHUNK - 1, SMALL_CHUNK, SMALL_CHUNK + 1, 3 * SMALL_CHUNK])
@both
def test_chunks(compression: Compression, size: int) -> None:
    data = random.Random(2).randbytes(size)
    blob = encoded(compression, tar_of([item("a", data=data)]))
    (*_, (_, chunks)) = chunks_of(toc_of(compression, blob))
    assert len(chunks) == -(-size // SMALL_CHUNK)
    check_contents(compression, blob, chunks, data)


@both
def test_only_what_changed_has_other_frames(compression: Compression) -> None:
    data = bytearray(random.Random(3).randbytes(5 * SMALL_CHUNK))
    frames = []
    for _ in range(2):
        tar = tar_of([item("a", data=bytes(data)), item("b", data=b"b" * 99)])
        listed = chunks_of(toc_of(compression, encoded(compression, tar)))
        frames.append([chunk["chunkDigest"] for _, chunks in listed for chunk in chunks])
        data[2 * SMALL_CHUNK] ^= 1
    first = 1 if compression == Compression.ESTARGZ else 0
    assert [one == other for one, other in zip(*frames, strict=True)] == [
        *[True] * first, True, True, False, True, True, True
    ]  # fmt: skip


def test_the_end_of_an_estargz_blob() -> None:
    blob = encoded(Compression.ESTARGZ, tar_of([item("a", data=b"a")]))
    member = expanded(Compression.ESTARGZ, blob.data[toc_start(blob.data) :])
    assert member.endswith(bytes(1024))
    assert len(member) % 512 == 0


@both
@pytest.mark.parametrize(
    "member",
    [item("caf\udce9", data=b"x"), item("a", tarfile.SYMTYPE, linkname="caf\udce9")],
    ids=["name", "target"],
)
def test_names_that_are_not_text(compression: Compression, member: Item) -> None:
    with pytest.raises(PackError, match="is not UTF-8, which tables of contents need"):
        encoded(compression, tar_of([member]))


@both
def test_times_that_are_no_dates(compression: Compression) -> None:
    in_base_256 = item("a", mtime=10**15).info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    for tar, time in (
        (tar_of([item("a", mtime=10**15)]), "1000000000000000"),
        (in_base_256, "1000000000000000"),
        (tar_of([item("a", pax_headers={"atime": "1000000000000000.5"})]), "1000000000000000.5"),
        (tar_of([item("a", pax_headers={"ctime": "-1000000000000000"})]), "-1000000000000000"),
    ):
        with pytest.raises(PackError, match=f"the time '{time}' is none that"):
            encoded(compression, tar)


@pytest.mark.parametrize("name", [INDEX, f"./{LANDMARK}", "/.prefetch.landmark"])
def test_names_that_estargz_needs(name: str) -> None:
    tar = tar_of([item(name, data=b"x")])
    with pytest.raises(PackError, match="eStargz adds a file with this name"):
        encoded(Compression.ESTARGZ, tar)
    encoded(Compression.ZSTD_CHUNKED, tar)


@both
@pytest.mark.parametrize("size", [100, 512 + 10, 512 + 700])
def test_a_tar_that_ends_too_early(compression: Compression, size: int) -> None:
    tar = tar_of([item("a", data=b"a" * 600)])
    with pytest.raises(ImageError, match="it ends in the middle of a member"):
        encoded(compression, tar[:size])


def test_crc64() -> None:
    """The checksum is that of a register which takes one bit after the other."""
    register = 0xFFFF_FFFF_FFFF_FFFF
    for byte in b"123456789":
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xD800_0000_0000_0000 if register & 1 else 0)
    assert crc64(b"123456789") == register ^ 0xFFFF_FFFF_FFFF_FFFF == 0xB909_56C7_75A4_1001


@given(st.binary(max_size=300), st.integers(1, 2000), st.lists(st.integers(0, 9000), max_size=4))
def test_crc64_of_pieces(data: bytes, times: int, cuts: list[int]) -> None:
    data *= times
    checksum = at = 0
    for size in cuts:
        checksum = crc64(data[at : at + size], checksum)
        at += size
    assert crc64(data[at:], checksum) == crc64(data)
    # A flipped bit is never missed.
    if data:
        assert crc64(bytes([data[0] ^ 1]) + data[1:]) != crc64(data)
