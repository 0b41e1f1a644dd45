"""TarSum: the published sums, and those that tarfile and hashlib compute."""

from __future__ import annotations

import hashlib
import io
import posixpath
import random
import tarfile
import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from nixdock.cli import main
from nixdock.errors import ImageError
from nixdock.tar.tarsum import ALGORITHMS, TarSumVersion, tarsum

V0, V1, DEV = TarSumVersion
EMPTY = hashlib.sha256().hexdigest()
SCRATCH = (
    b'{"id":"511136ea3c5a64f264b78b5433614aec563103b4d4702f3ba7d4d2698e22c158","comment":'
    b'"Imported from -","created":"2013-06-13T14:03:50.821769-07:00","container_config":'
    b'{"Hostname":"","Domainname":"","User":"","Memory":0,"MemorySwap":0,"CpuShares":0,'
    b'"AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"PortSpecs":null,'
    b'"ExposedPorts":null,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,'
    b'"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"NetworkDisabled":false,'
    b'"OnBuild":null},"docker_version":"0.4.0","architecture":"x86_64","Size":0}'
)

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, data: bytes = b"", **values: Any) -> Entry:
    made = tarfile.TarInfo(name)
    made.size = len(data)
    for key, value in values.items():
        setattr(made, key, value)
    return made, data


def tar(entries: Iterable[Entry], form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for made, data in entries:
            archive.addfile(made, io.BytesIO(data))
    return out.getvalue()


def sum_of(data: bytes, version: TarSumVersion = V1, algorithm: str = "sha256", **more: Any) -> str:
    return tarsum(io.BytesIO(data), version, algorithm, **more)


MEGABYTE = tar([entry("/testdata0", bytes(1 << 20), mode=0o755)])
ALICE = {"mode": 0, "uid": 1000, "gid": 1000, "uname": "slartibartfast", "gname": "users"}
FIRST, SECOND = (
    entry("file", data, uid=1000, gid=1000, uname="vbatts", gname="vbatts", mtime=time)
    for data, time in ((b"farts\n", 1409861938), (b"HOWDY\n", 1409861993))
)


def xattrs(**values: str) -> dict[str, str]:
    return {f"SCHILY.xattr.user.{key}": value for key, value in values.items()}


@pytest.mark.parametrize(
    "expected",
    [
        "tarsum+sha256:75258b2c5dcd9adfe24ce71eeca5fc5019c7e669912f15703ede92b1a60cb11f",
        "tarsum+md5:3a6cdb475d90459ac0d3280703d17be2",
        "tarsum+sha1:14b5e0d12a0c50a4281e86e92153fa06d55d00c6",
        "tarsum+sha224:dd8925b7a4c71b13f3a68a0f9428a757c76b93752c398f272a9062d5",
        (
            "tarsum+sha384:e39e82f40005134bed13fb632d1a5f2aa4675c9ddb4a136fbcec202797e68d2f"
            "635e1200dee2e3a8d7f69d54d3f2fd27"
        ),
        (
            "tarsum+sha512:7c56de40b2d1ed3863ff25d83b59cdc8f53e67d1c01c3ee8f201f8e4dec3107d"
            "a976d0c0ec9109c962a152b32699fe329b2dab13966020e400c32878a0761a7e"
        ),
    ],
)
def test_the_published_sums_of_a_megabyte_of_zeros(expected: str) -> None:
    algorithm = expected.partition("+")[2].partition(":")[0]
    assert sum_of(MEGABYTE, V0, algorithm) == expected


@pytest.mark.parametrize(
    ("made", "names", "expected"),
    [
        (
            entry("file.txt", mode=0),
            True,
            "tarsum+sha256:626c4a2e9a467d65c33ae81f7f3dedd4de8ccaee72af73223c4bc4718cbc7bbd",
        ),
        (
            entry("file.txt", mode=0),
            True,
            "tarsum.dev+sha256:6ffd43a1573a9913325b4918e124ee982a99c0f3cba90fc032a65f5e20bdd465",
        ),
        (
            entry("another.txt", b"test", **ALICE),
            True,
            "tarsum.dev+sha256:b38166c059e11fb77bef30bf16fba7584446e80fcc156ff46d47e36c5305d8ef",
        ),
        (
            entry("another.txt", b"test", **ALICE),
            False,
            "tarsum.dev+sha256:862964db95e0fa7e42836ae4caab3576ab1df8d275720a45bdd01a5a3730cc63",
        ),
        (
            entry("xattrs.txt", b"test", pax_headers=xattrs(key1="value1", key2="value2"), **ALICE),
            True,
            "tarsum.dev+sha256:4cc2e71ac5d31833ab2be9b4f7842a14ce595ec96a37af4ed08f87bc374228cd",
        ),
        (
            entry("xattrs.txt", b"test", pax_headers=xattrs(key2="value2", key1="value1"), **ALICE),
            False,
            "tarsum.dev+sha256:4b1ba03544b49d96a32bacc77f8113220bd2f6a77e7e6d1e7b33cd87117d88e7",
        ),
        (
            entry("xattrs.txt", b"test", pax_headers=xattrs(KEY1="value1", key2="value2"), **ALICE),
            True,
            "tarsum.dev+sha256:65f4284fa32c0d4112dd93c3637697805866415b570587e4fd266af241503760",
        ),
        (
            entry("xattrs.txt", b"test", pax_headers=xattrs(KEY1="value1", key2="value2"), **ALICE),
            False,
            "tarsum.dev+sha256:410b602c898bd4e82e800050f89848fc2cf20fd52aa59c1ce29df76b878b84a6",
        ),
        (
            entry("xattrs.txt", b"test", pax_headers=xattrs(NOT="CALCULATED"), **ALICE),
            True,
            "tarsum+sha256:c12bb6f1303a9ddbf4576c52da74973c00d14c109bcfa76b708d5da1154a07fa",
        ),
        (
            entry("xattrs.txt", b"test", pax_headers=xattrs(NOT="CALCULATED"), **ALICE),
            False,
            "tarsum+sha256:b1f97eab73abd7593c245e51070f9fbdb1824c6b00a0b7a3d7f0015cd05e9e86",
        ),
    ],
)
def test_the_published_sums_of_single_files(made: Entry, names: bool, expected: str) -> None:
    version = TarSumVersion(expected.partition("+")[0])
    assert sum_of(tar([made]), version, names=names) == expected


@pytest.mark.parametrize("data", [b"", bytes(512), bytes(1024), bytes(10240)])
def test_the_published_sum_of_an_empty_tar(data: bytes) -> None:
    assert sum_of(data, V0) == f"tarsum+sha256:{EMPTY}"


@pytest.mark.parametrize(
    ("entries", "names", "digest"),
    [
        ([0, 1], True, "08653904a68d3ab5c59e65ef58c49c1581caa3c34744f8d354b3f575ea04424a"),
        ([1, 0], True, "b51c13fbefe158b5ce420d2b930eef54c5cd55c50a2ee4abdddea8fa9f081e0d"),
        ([1], True, "381547080919bb82691e995508ae20ed33ce0f6948d41cafbeb70ce20c73ee8e"),
        ([0], True, "f886e431c08143164a676805205979cd8fa535dfcef714db5515650eea5a7c0f"),
        ([0, 1], False, "7cabb5e9128bb4a93ff867b9464d7c66a644ae51ea2e90e6ef313f3bef93f077"),
        ([1, 0], False, "805fd393cfd58900b10c5636cf9bab48b2406d9b66523122f2352620c85dc7f9"),
        ([1], False, "85d2b8389f077659d78aca898f9e632ed9161f553f144aef100648eac540147b"),
        ([0], False, "cbe4dee79fe979d69c16c2bccd032e3205716a562f4a3c1ca1cbeed7b256eb19"),
    ],
)
def test_the_published_sums_of_one_path_twice(entries: list[int], names: bool, digest: str) -> None:
    made = tar([(FIRST, SECOND)[index] for index in entries])
    assert sum_of(made, V0, names=names) == f"tarsum+sha256:{digest}"


def test_the_published_sum_of_a_layer_with_its_json() -> None:
    # Docker wrote the kind of file into the mode as well.
    layer = with_field(
        tar([entry("./", type=tarfile.DIRTYPE, mtime=1371157405)]), 100, b"0040755\0"
    )
    assert sum_of(layer, V0, extra=SCRATCH) == (
        "tarsum+sha256:ac672ee85da9ab7f9667ae3c32841d3e42f33cc52c273c23341dabba1c8b0c8b"
    )


def with_field(data: bytes, at: int, value: bytes) -> bytes:
    """Change a field of the first header."""
    header = bytearray(data[:512])
    header[at : at + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


component = st.text(
    st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=12
).filter(lambda name: name not in {".", ".."})
paths = st.lists(st.one_of(component, st.just("long" * 30)), min_size=1, max_size=4).map("/".join)
numbers = st.one_of(st.integers(0, 0o777777), st.integers(0, 2**31))
KINDS = (
    *(tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE),
    *(tarfile.DIRTYPE, tarfile.FIFOTYPE),
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(KINDS))
    made, data = entry(
        draw(paths),
        draw(st.binary(max_size=1500)) if kind == tarfile.REGTYPE else b"",
        type=kind,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(numbers),
        gid=draw(numbers),
        mtime=draw(st.integers(0, 2**34)),
        uname=draw(st.sampled_from(["", "root", "ünal", "n" * 50])),
        gname=draw(st.sampled_from(["", "users"])),
    )
    if kind in {tarfile.LNKTYPE, tarfile.SYMTYPE}:
        made.linkname = draw(paths)
    if kind in {tarfile.CHRTYPE, tarfile.BLKTYPE}:
        made.devmajor, made.devminor = draw(st.integers(0, 4095)), draw(st.integers(0, 4095))
    keys = draw(st.dictionaries(st.sampled_from(["a", "B", "ab.c"]), st.sampled_from(["", "v"])))
    made.pax_headers = xattrs(**keys)
    return made, data


def expected_digest(
    made: tarfile.TarInfo, data: bytes, version: TarSumVersion, *, names: bool
) -> str:
    fields: list[tuple[str, object]] = [
        ("name", made.name + ("/" if made.isdir() else "")),
        *((key, getattr(made, key)) for key in ("mode", "uid", "gid", "size")),
        *([("mtime", made.mtime)] if version == V0 else []),
        ("typeflag", made.type.decode()),
        ("linkname", made.linkname),
        ("uname", made.uname if names else ""),
        ("gname", made.gname if names else ""),
        ("devmajor", made.devmajor),
        ("devminor", made.devminor),
    ]
    if version != V0:
        fields += sorted((k.removeprefix("SCHILY.xattr."), v) for k, v in made.pax_headers.items())
    text = "".join(f"{key}{value}" for key, value in fields)
    return hashlib.sha256(text.encode() + data).hexdigest()


def expected_sum(found: Sequence[Entry], version: TarSumVersion = V1, *, names: bool = True) -> str:
    digests = sorted(expected_digest(*each, version, names=names) for each in found)
    return f"{version}+sha256:{hashlib.sha256(''.join(digests).encode()).hexdigest()}"


found = st.lists(
    entries(), max_size=6, unique_by=lambda pair: posixpath.normpath(f"/{pair[0].name}")
)


@pytest.mark.slow
@given(found, st.sampled_from(TarSumVersion), st.booleans())
def test_sums_agree_with_tarfile_and_hashlib(
    found: list[Entry], version: TarSumVersion, names: bool
) -> None:
    expected = expected_sum(found, version, names=names)
    assert sum_of(tar(found), version, names=names) == expected


@pytest.mark.slow
@given(found, st.randoms())
def test_order_does_not_matter(found: list[Entry], chance: random.Random) -> None:
    shuffled = chance.sample(found, len(found))
    assert sum_of(tar(shuffled)) == sum_of(tar(found)) == expected_sum(found)


@pytest.mark.slow
@given(found.filter(len), st.integers(1, 20))
def test_a_truncated_or_padded_end_does_not_matter(found: list[Entry], more: int) -> None:
    whole = tar(found)
    content = whole.rstrip(b"\0")
    content += bytes(-len(content) % 512)
    for data in (content + bytes(512), whole + bytes(512 * more)):
        assert sum_of(data) == expected_sum(found)


def test_a_tar_without_an_end_is_valid_if_its_last_file_is_whole() -> None:
    whole = tar([entry("a", b"a" * 700), entry("b", b"b" * 1024)])
    end = 512 + 1024 + 512 + 1024
    assert sum_of(whole[:end]) == sum_of(whole)
    for size in (*range(1, 512, 17), *range(513, 1536, 64), end - 1, end - 512, end - 1024 + 1):
        with pytest.raises(ImageError, match="ends in the middle"):
            sum_of(whole[:size])


def test_an_extended_header_needs_its_member() -> None:
    data = tar([entry("n" * 200, b"x")])
    with pytest.raises(ImageError, match="no member after it"):
        sum_of(data[:1024])


def test_members_of_the_same_path_keep_their_order() -> None:
    twice = [entry("./a", b"1"), entry("a", b"2"), entry("/a", b"3"), entry("x/../a/", b"4")]
    others = [entry(name, b"-") for name in ("b", "c", "d")]
    sums = {sum_of(tar([*twice[turn:], *others, *twice[:turn]])) for turn in range(len(twice))}
    assert len(sums) == len(twice)
    assert sum_of(tar([*others, *twice])) == sum_of(tar([*twice, *others]))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_format_of_the_tar_does_not_matter(form: int) -> None:
    found = [entry("a" * 90 + "/" + "b" * 90, b"x", uname="u"), entry("c", mode=0o4755)]
    assert sum_of(tar(found, form)) == expected_sum(found)


def test_members_without_a_type_flag_are_files_or_directories_by_name() -> None:
    for name, kind in (("d/", tarfile.DIRTYPE), ("f", tarfile.REGTYPE)):
        old = tar([entry(name, type=tarfile.AREGTYPE)])
        assert sum_of(old) == expected_sum([entry(name.rstrip("/"), type=kind)])


def test_headers_before_ustar_have_no_owner_names() -> None:
    data = tar([entry("f", uname="u", gname="g")])
    for magic, owner in ((b"ustar  \0", ("u", "g")), (bytes(8), ("", ""))):
        expected = entry("f", uname=owner[0], gname=owner[1])
        assert sum_of(with_field(data, 257, magic)) == expected_sum([expected])


def test_the_size_of_a_member_without_contents_counts() -> None:
    link = entry("l", type=tarfile.LNKTYPE, linkname="f")
    data = with_field(tar([link]), 124, b"00000000007\0")
    link[0].size = 7
    assert sum_of(data) == expected_sum([link])


@pytest.mark.parametrize(
    ("mtime", "seconds"),
    [
        ("12.9999999999999999999", 12),
        ("-1.5", -2),
        ("-1.0", -1),
        ("1700000000.99999999999", 1700000000),
    ],
)
def test_version_0_counts_whole_seconds(mtime: str, seconds: int) -> None:
    made = entry("f", pax_headers={"mtime": mtime})
    assert sum_of(tar([made]), V0) == expected_sum([entry("f", mtime=seconds)], V0)


def test_version_1_does_not_count_seconds() -> None:
    assert sum_of(tar([entry("f", mtime=1)])) == sum_of(tar([entry("f", mtime=2)]))


def test_a_malformed_number_is_an_error_with_its_name() -> None:
    data = with_field(tar([entry("f")]), 329, b"what??!\0")
    with pytest.raises(ImageError, match=r"my\.tar is malformed at byte 0: the device .* octal"):
        sum_of(data, what="my.tar")


def test_numbers_in_base_256_are_understood() -> None:
    data = with_field(tar([entry("f")]), 100, b"\x80" + bytes(4) + b"\x01\xa4\x00")
    assert sum_of(data) == expected_sum([entry("f", mode=0o644 << 8)])
    data = with_field(tar([entry("f")]), 136, b"\xff" * 12)
    assert sum_of(data, V0) == expected_sum([entry("f", mtime=-1)], V0)


class Zeros(io.RawIOBase):
    """A tar with one large file, which is generated while it is read."""

    def __init__(self, size: int) -> None:
        super().__init__()
        head, _ = entry("large")
        head.size = size
        self._head = head.tobuf(tarfile.USTAR_FORMAT)
        self._left = size + -size % 512 + 1024

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        if self._head:
            count = min(len(view), len(self._head))
            view[:count], self._head = self._head[:count], self._head[count:]
            return count
        count = min(len(view), self._left, 70_000)
        view[:count] = bytes(count)
        self._left -= count
        return count


@pytest.mark.slow
def test_large_files_and_many_headers_need_little_memory() -> None:
    many = tar([entry(f"{number}", b"x" * 3000) for number in range(5000)])
    for stream in (Zeros(200 << 20), io.BytesIO(many)):
        tracemalloc.start()
        tarsum(stream)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 24 << 20
    assert tarsum(Zeros(5 << 20)) == expected_sum([entry("large", bytes(5 << 20))])


def test_the_command_reads_a_file_and_standard_input(tmp_path: Path) -> None:
    made = entry("f", b"x", uname="u", mtime=7)
    file = tmp_path / "a.tar"
    file.write_bytes(tar([made]))
    run = CliRunner().invoke
    assert run(main, ["tarsum", str(file)]).output == f"{expected_sum([made])}\n"
    assert run(main, ["tarsum"], input=file.read_bytes()).output == f"{expected_sum([made])}\n"
    nameless = run(main, ["tarsum", "--ignore-names", "--version", "v0", str(file)]).output
    assert nameless == f"{expected_sum([made], V0, names=False)}\n"
    for algorithm in ALGORITHMS:
        output = run(main, ["tarsum", "--hash", algorithm, "--version", "dev", str(file)]).output
        assert output.startswith(f"tarsum.dev+{algorithm}:")


def test_the_command_names_the_file_that_is_not_a_tar(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"no tar " * 100)
    for arguments, name in (([str(file)], str(file)), ([], "standard input")):
        result = CliRunner().invoke(main, ["tarsum", *arguments], input=file.read_bytes())
        assert isinstance(result.exception, ImageError)
        assert str(result.exception).startswith(f"{name} is malformed")
