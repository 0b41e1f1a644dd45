"""Checking layers that can be fetched in part: every difference from the tar is found."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from nixdock.coding.libzstd import zstd
from nixdock.errors import ImageError
from nixdock.layers.chunked import encoder as encoding
from nixdock.layers.chunked.estargz import footer
from nixdock.layers.compression import Compression
from nixdock.oci.descriptor import Platform
from nixdock.oci.image import Image
from nixdock.oci.layer_blob import LayerBlob, LayerHistory
from nixdock.oci.reference import Reference
from nixdock.read.check_layer import check_layer
from nixdock.read.chunked.document import parse_toc
from nixdock.read.opening import open_image
from nixdock.write.oci_layout import write_oci_layout

from ...layers.chunked.trees import (
    BOTH,
    INDEX,
    Blob,
    Item,
    digest,
    encoded,
    expanded,
    item,
    position,
    tar_of,
    toc_of,
    toc_start,
    trees,
)

both = pytest.mark.parametrize("compression", BOTH, ids=str)
ZSTD = "io.github.containers.zstd-chunked"
STARGZ = "containerd.io/snapshot/stargz/toc.digest"
ESTARGZ_SIZE = "io.containers.estargz.uncompressed-size"
A_FILE = b"a file\n"
Change = Callable[[list[dict[str, Any]]], object]


@pytest.fixture(autouse=True, scope="module")
def _small_chunks() -> object:
    """Cut files into chunks of a size that small files exceed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "CHUNK_SIZE", 1000)
        yield


def problems(directory: Path, compression: Compression, blob: Blob) -> list[str]:
    """Return what the check finds wrong with a blob."""
    diff_id = digest(expanded(compression, blob.data))
    name = digest(blob.data)
    media_type = f"application/vnd.oci.image.layer.v1.tar{compression.media_type_suffix}"
    history = LayerHistory("test", "")
    layer = LayerBlob(
        diff_id, name, len(blob.data), media_type, history, annotations=blob.annotations
    )

    def pack(directory: Path) -> list[LayerBlob]:
        (directory / name[7:]).write_bytes(blob.data)
        return [layer]

    def assemble(blobs: Any) -> Image:
        return Image.of(
            blobs,
            references=[Reference.parse("x:v1")],
            platform=Platform(),
            container={},
            created="1970-01-01T00:00:01Z",
        )

    write_oci_layout(directory, pack, assemble)
    with open_image(directory) as file:
        (image,) = file.images
        return [found.message for found in check_layer(image.layers[0]).problems]


def sample() -> list[Item]:
    return [
        item("/nix", tarfile.DIRTYPE, mode=0o755),
        item("/nix/a", data=A_FILE, mode=0o555, uid=7),
        item("/nix/empty", mode=0o444),
        item("/nix/large", data=b"".join(b"%d " % n for n in range(900)), mode=0o444),
        item("/nix/link", tarfile.SYMTYPE, linkname="a"),
    ]


def with_toc(compression: Compression, blob: Blob, change: Change) -> Blob:
    """Give a blob another table of contents, and digests and positions that fit it."""
    toc = toc_of(compression, blob)
    change(toc["entries"])
    text = json.dumps(toc).encode()
    if compression == Compression.ESTARGZ:
        start = toc_start(blob.data)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(item(INDEX, data=text).info, io.BytesIO(text))
        whole = expanded(compression, blob.data[:start]) + out.getvalue()
        data = blob.data[:start] + gzip_member(out.getvalue()) + footer(start)
        annotations = {STARGZ: digest(text), ESTARGZ_SIZE: str(len(whole))}
        return Blob(data, annotations, digest(whole))
    at, *_ = position(blob, "manifest")
    split_at, split_size, split_whole = position(blob, "tarsplit")
    split = blob.data[split_at : split_at + split_size]
    return zstd_blob(blob.data[: at - 8], text, split, split_whole)


def gzip_member(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def zstd_blob(frames: bytes, toc: bytes, split: bytes, split_size: int) -> Blob:
    packed = zstd.compress(toc)
    at = len(frames) + 8
    split_at = at + len(packed) + 8
    data = frames + skippable(packed) + skippable(split)
    numbers = (at, len(packed), len(toc), 1, split_at, len(split), split_size)
    data += skippable(struct.pack("<7Q8s", *numbers, b"GNUlInUx"))
    annotations = {
        f"{ZSTD}.manifest-checksum": digest(packed),
        f"{ZSTD}.manifest-position": ":".join(map(str, numbers[:4])),
        f"{ZSTD}.tarsplit-position": ":".join(map(str, numbers[4:])),
    }
    return Blob(data, annotations, None)


def skippable(data: bytes) -> bytes:
    return b"\x50\x2a\x4d\x18" + struct.pack("<I", len(data)) + data


@both
@given(items=trees())
@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_nixdock_writes_is_right(
    tmp_path_factory: pytest.TempPathFactory, compression: Compression, items: list[Item]
) -> None:
    blob = encoded(compression, tar_of(items))
    # What the tars of these trees have wrong otherwise, such as links to nothing, is not meant.
    found = problems(tmp_path_factory.mktemp("x") / "x", compression, blob)
    assert [each for each in found if "contents" in each or "tar-split" in each] == []


@both
def test_nothing_is_wrong(tmp_path: Path, compression: Compression) -> None:
    blob = encoded(compression, tar_of(sample()))
    assert problems(tmp_path / "x", compression, blob) == []
    # A table of contents that another program has formatted otherwise is right, too.
    other = with_toc(compression, blob, lambda entries: None)
    assert problems(tmp_path / "y", compression, other) == []


def changed(name: str, /, **fields: object) -> Change:
    def change(entries: list[dict[str, Any]]) -> None:
        (entry,) = (each for each in entries if each["name"] == name and each["type"] != "chunk")
        entry.update(fields)

    return change


def chunk_changed(number: int, **fields: object) -> Change:
    def change(entries: list[dict[str, Any]]) -> None:
        [each for each in entries if each["type"] == "chunk"][number].update(fields)

    return change


def removed(name: str) -> Change:
    def change(entries: list[dict[str, Any]]) -> None:
        entries[:] = [each for each in entries if each["name"] != name]

    return change


def repeated(name: str) -> Change:
    def change(entries: list[dict[str, Any]]) -> None:
        entries.append(next(each for each in entries if each["name"] == name))

    return change


ZEROS = f"sha256:{'0' * 64}"
WRONG: list[tuple[Change, str]] = [
    (changed("/nix/a", type="dir"), r"'nix/a': its type is reg, but is listed as dir"),
    (changed("/nix/a", mode=0o644), r"'nix/a': its mode is 365, but is listed as 420"),
    (changed("/nix/a", size=8), r"'nix/a': its size is 7, but is listed as 8"),
    (changed("/nix/a", uid=0), r"'nix/a': its uid is 7, but is listed as 0"),
    (changed("/nix/a", gid=9), r"'nix/a': its gid is 0, but is listed as 9"),
    (changed("/nix/", devMajor=3), r"'nix': its devMajor is 0, but is listed as 3"),
    (
        changed("/nix/a", modtime="2020-01-01T00:00:00Z"),
        r"'nix/a': its modtime is 1970-01-01T00:00:01Z, but is listed as 2020-01-01T00:00:00Z",
    ),
    (changed("/nix/a", modtime="never"), r"'nix/a': its modtime is .*Z, but is listed as never"),
    (changed("/nix/a", xattrs={"a": "YQ=="}), r"'nix/a': its xattrs is {}, but is listed as"),
    (changed("/nix/link", linkName="b"), r"'nix/link': its linkName is a, but is listed as b"),
    (
        changed("/nix/a", digest=ZEROS),
        rf"'nix/a': its digest is {digest(A_FILE)}, but is listed as {ZEROS}",
    ),
    (changed("/nix/a", digest=""), r"'nix/a': its digest is .*, but is listed as none"),
    (
        changed("/nix/a", chunkDigest=ZEROS),
        rf"'nix/a': the digest of its 7 bytes from 0 on is .*, but is listed as {ZEROS}",
    ),
    (
        changed("/nix/a", offset=3),
        r"'nix/a': its bytes from 0 on are listed at byte 3 of the blob, but do not begin there",
    ),
    (
        chunk_changed(1, offset=3),
        r"'nix/large': its bytes from 2000 on are listed at byte 3 of the blob, but do not",
    ),
    (
        chunk_changed(1, chunkOffset=1999),
        r"'nix/large': a chunk is listed from byte 1999, but should begin at 2000",
    ),
    (chunk_changed(1, chunkSize=9999), r"'nix/large': a chunk is listed from byte 2000"),
    (
        chunk_changed(-1, chunkSize=1),
        r"'nix/large': its chunks have 3001 of 3490 bytes",
    ),
    (
        chunk_changed(0, chunkDigest=ZEROS),
        r"'nix/large': the digest of its 1000 bytes from 1000 on is .*, but is listed as",
    ),
    (removed("/nix/empty"), r"'nix/empty', which the tar has, is not listed"),
    (changed("/nix/empty", name="/nix/other"), r"'nix/other' is listed, but the tar does not have"),
    (changed("/nix/empty", name="../x"), r"an invalid name is listed: the name '../x' contains"),
    (repeated("/nix/a"), r"'nix/a' is listed twice"),
    (
        lambda entries: entries.insert(0, {"type": "chunk", "name": "/nix/a"}),
        r"a chunk of '/nix/a' is listed before its file",
    ),
]


@both
@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_a_table_has_wrong(
    tmp_path: Path, compression: Compression, change: Change, message: str
) -> None:
    blob = with_toc(compression, encoded(compression, tar_of(sample())), change)
    found = problems(tmp_path / "x", compression, blob)
    assert any(re.match(f"the table of contents: {message}", each) for each in found), found


def test_where_contents_end(tmp_path: Path) -> None:
    compression = Compression.ZSTD_CHUNKED
    blob = encoded(compression, tar_of(sample()))
    wrong = with_toc(compression, blob, changed("/nix/a", endOffset=9))
    (found,) = problems(tmp_path / "x", compression, wrong)
    assert re.search(r"'nix/a': it ends at byte \d+ of the blob, but is listed to end at 9", found)


@both
@pytest.mark.parametrize(
    "toc", [b"{}", b"[", b'{"version":2,"entries":[]}', b'{"version":1,"entries":[{"type":3}]}']
)
def test_what_is_no_table_of_contents(
    tmp_path: Path, compression: Compression, toc: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = encoded(compression, tar_of(sample()))
    monkeypatch.setattr(json, "dumps", lambda _: toc.decode())
    (found,) = problems(
        tmp_path / "x", compression, with_toc(compression, blob, lambda entries: None)
    )
    assert "the table of contents" in found


def test_entries_are_counted_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msgspec.json, "decode", None)
    toc = b'{"version":1,"entries":[' + b'{"type":""},' * 1_000_000 + b"]}"
    with pytest.raises(ImageError, match="the table of contents has more than 1000000 entries"):
        parse_toc(toc)


def replaced(blob: Blob, key: str, value: str) -> Blob:
    return Blob(blob.data, {**blob.annotations, key: value}, blob.tar_digest)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("manifest-checksum", ZEROS, "the digest is .*, but .*.manifest-checksum is"),
        ("manifest-position", "1:2:3", "the annotation .*.manifest-position is '1:2:3', not 4"),
        ("manifest-position", "-1:2:3:1", "the annotation .*.manifest-position is '-1:2:3:1', not"),
        ("manifest-position", f"1:{1 << 40}:3:1", "is of more than 157286400 bytes"),
        ("manifest-position", "9999:9:9:1", "the digest is"),
        ("tarsplit-position", "x", "the annotation .*.tarsplit-position is 'x', not 3 numbers"),
        ("tarsplit-position", "0:9:9", "the digest is .*, but tarSplitDigest is"),
    ],
)
def test_wrong_annotations_of_zstd(tmp_path: Path, key: str, value: str, message: str) -> None:
    blob = encoded(Compression.ZSTD_CHUNKED, tar_of(sample()))
    wrong = replaced(blob, f"{ZSTD}.{key}", value)
    found = problems(tmp_path / "x", Compression.ZSTD_CHUNKED, wrong)
    assert re.search(message, found[0]), found


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [(STARGZ, ZEROS, "the digest is .*, but .*toc.digest is"), (ESTARGZ_SIZE, "7", "is '7'")],
)
def test_wrong_annotations_of_estargz(tmp_path: Path, key: str, value: str, message: str) -> None:
    blob = encoded(Compression.ESTARGZ, tar_of(sample()))
    (found,) = problems(tmp_path / "x", Compression.ESTARGZ, replaced(blob, key, value))
    assert re.search(message, found)


def test_wrong_footers(tmp_path: Path) -> None:
    blob = encoded(Compression.ESTARGZ, tar_of(sample()))
    for name, end, message in [
        ("other", footer(0), "the footer has the table of contents at byte 0, where it does not"),
        ("none", b"", "it does not end with a footer of eStargz"),
    ]:
        wrong = Blob(blob.data[:-51] + end, blob.annotations, blob.tar_digest)
        assert problems(tmp_path / name, Compression.ESTARGZ, wrong)[0].startswith(message)


def test_annotations_of_an_ordinary_layer(tmp_path: Path) -> None:
    """A layer that claims to be eStargz, and is not."""
    plain = gzip_member(tar_of(sample()))
    blob = Blob(plain, {STARGZ: ZEROS}, None)
    (found,) = problems(tmp_path / "x", Compression.ESTARGZ, blob)
    assert found == "there is no stargz.index.json, the table of contents of eStargz"


SplitChange = Callable[[list[dict[str, Any]]], object]


def with_split(change: SplitChange, *, size: int = 0) -> Blob:
    """Return the sample with other data of tar-split, and a table of contents that names them."""
    compression = Compression.ZSTD_CHUNKED
    blob = encoded(compression, tar_of(sample()))
    at, length, _ = position(blob, "tarsplit")
    lines = [json.loads(line) for line in zstd.decompress(blob.data[at : at + length]).splitlines()]
    change(lines)
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    split = zstd.compress(text)
    toc = toc_of(compression, blob) | {"tarSplitDigest": digest(split)}
    frames = blob.data[: position(blob, "manifest")[0] - 8]
    return zstd_blob(frames, json.dumps(toc).encode(), split, len(text) + size)


def test_other_data_of_tar_split_may_be_right(tmp_path: Path) -> None:
    """Bytes may be cut into lines in another way, as containers/storage cuts the end of a tar."""

    def cut(lines: list[dict[str, Any]]) -> None:
        end = lines.pop()
        zeros = {"type": 2, "payload": "AAAA", "position": 0}
        rest = "A" * (len(end["payload"].rstrip("=")) - 4)
        lines += [zeros, {**end, "payload": rest + "=" * (-len(rest) % 4)}]

    assert problems(tmp_path / "x", Compression.ZSTD_CHUNKED, with_split(cut)) == []


@pytest.mark.parametrize(
    ("change", "size", "message"),
    [
        (lambda lines: lines[0].update(payload="AAAA"), 0, "'/nix/': it comes after 512 bytes of"),
        (lambda lines: lines[1].update(name="/b"), 0, "'/b' is listed, but the tar does not have"),
        (lambda lines: lines[3].update(size=8), 0, "'/nix/a': it has 7 bytes, but is listed with"),
        (lambda lines: lines[3].update(payload=None), 0, "'/nix/a': its CRC-64 is [0-9a-f]{16}, b"),
        (lambda lines: lines.pop(), 0, "the headers and the padding are not those of the tar"),
        (lambda lines: lines.pop(3), 0, "4 members are listed, but the tar has 5"),
        (lambda lines: lines[0].update(type=3), 0, "a line has the unknown type 3"),
        (lambda lines: lines[0].update(payload=3), 0, "a line is malformed"),
        (lambda lines: None, 1, "they have .* bytes when decompressed, but should have"),
        (lambda lines: None, -1, "the zstd data expands to more than"),
    ],
)
def test_wrong_data_of_tar_split(
    tmp_path: Path, change: SplitChange, size: int, message: str
) -> None:
    wrong = with_split(change, size=size)
    found = problems(tmp_path / "x", Compression.ZSTD_CHUNKED, wrong)
    assert re.match(f"the data of tar-split: {message}", found[0]), found


def test_many_problems_are_counted(tmp_path: Path) -> None:
    items = [item(f"/{n}", data=b"x") for n in range(40)]
    compression = Compression.ZSTD_CHUNKED

    def change(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            entry["uid"] = 1

    blob = with_toc(compression, encoded(compression, tar_of(items)), change)
    found = problems(tmp_path / "x", compression, blob)
    assert len(found) == 21
    assert found[-1] == "and 20 more problems"
