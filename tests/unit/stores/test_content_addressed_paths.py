"""Paths whose names follow from their contents need no signature, but those contents."""

from __future__ import annotations

from pathlib import Path

import pytest

from nixdock.errors import CacheError, MissingPathsError
from nixdock.nix.closure import PathInfo
from nixdock.nix.store_path import StorePath
from tests.unit.nix.nar_files import File, dump

from .fake_cache import FakeCache, fake_cache
from .reaching import contents_of, open_sample
from .sample_cache import Sample, hash_of, narinfo_lines

SELF = (
    StorePath.parse("/nix/store/yshm6llnida87k47l0i0pyx6ixn4409l-selfref"),
    "fixed:r:sha256:1ki3ndslhbzxpxnrdhcjxzwv56d03xmzpj0xbw572jkr92fwaab4",
    b"hi /nix/store/yshm6llnida87k47l0i0pyx6ixn4409l-selfref\n",
)
# As Nix 2.17 and later has made it.
_LATER = "/nix/store/4mjsbf25l8s9z7dwj70dql9ccfhqan2m-selfref"
SELF_LATER = (
    StorePath.parse(_LATER),
    "fixed:r:sha256:0is3nyc6ks1khjcsazx3zzsig40c4wwv4qs77z3dym01paxjfn0m",
    f"{_LATER} and {_LATER}\n".encode(),
)
ADDRESSES = (
    (
        StorePath.parse("/nix/store/7zhvfwjnjjnqsmlsx0s63mbsm31m7y6b-other.txt"),
        "text:sha256:00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq",
        b"hello\n",
    ),
    (
        StorePath.parse("/nix/store/9a8mxachqmcv8x2cfijdps9dyxgyyrzm-hello.txt"),
        (
            "fixed:sha512:0lrc0dwnvipqviibf7qfm1y492qvjwb1zhkcyi05cndmva1mr5gjcgrnz1x36djmk0sfg8djd2n0"
            "qv68vib2jg590mwznar9jcjphp7"
        ),
        b"hello\n",
    ),
    SELF,
    SELF_LATER,
)


def offer(
    directory: Path, path: StorePath, address: str, data: bytes, references: tuple[StorePath, ...]
) -> None:
    """Let a cache have a file that nobody has signed."""
    nar = dump(File(data))
    info = PathInfo(path, len(nar), hash_of(nar), references)
    lines = [*narinfo_lines(info, "nar/x", "none", nar), f"CA: {address}"]
    (directory / f"{path.hash_part}.narinfo").write_text("".join(f"{x}\n" for x in lines))
    (directory / "nar/x").write_bytes(nar)


@pytest.mark.parametrize(("path", "address", "data"), ADDRESSES)
def test_a_content_address_needs_no_signature_but_the_contents(
    tmp_path: Path, closure: Sample, path: StorePath, address: str, data: bytes
) -> None:
    directory = closure.cache(tmp_path / "cache")
    references = (path,) if path in {SELF[0], SELF_LATER[0]} else ()
    offer(directory, path, address, data, references)
    stores = open_sample(f"file://{directory}")
    assert len(stores.closure([path])) == 1
    assert [entry.size for entry in stores.listing(path)] == [len(data)]
    ((_, found),) = contents_of(stores, path)
    assert found == data
    offer(directory, path, address, data.replace(b"h", b"j"), references)
    stores = open_sample(f"file://{directory}")
    for read in (lambda: stores.closure([path]), lambda: contents_of(stores, path)):
        with pytest.raises(CacheError, match=r"as in its content address|as promised"):
            read()
    narinfo_file = directory / f"{path.hash_part}.narinfo"
    narinfo_file.write_text(narinfo_file.read_text().replace(address, f"{address[:-8]}00000000"))
    with pytest.raises(MissingPathsError, match="but it is not signed"):
        open_sample(f"file://{directory}").closure([path])


def test_the_nar_hash_of_contents_that_nobody_has_signed_is_found_out(
    closure: Sample, tmp_path: Path
) -> None:
    """Whoever trusts the hash of a closure would take whatever has it, from any store."""
    other = closure.cache(tmp_path / "other")
    path, address, data = ADDRESSES[0]
    bad = data.replace(b"h", b"j")
    offer(other, path, "", bad, references=())
    with fake_cache(closure.cache(tmp_path / "cache")) as fake:
        offer(fake.directory, path, address, data, references=())
        urls = [f"file://{other}", fake.url]
        (info,) = open_sample(urls).closure([path])
        assert info.nar_hash == hash_of(dump(File(data)))
        assert fake.names == ["nix-cache-info", f"{path.hash_part}.narinfo", "nar/x"]
        assert len(open_sample(fake.url, check=False).closure([path])) == 1
        assert len(fake.requests(path="nar/x")) == 1, "nobody is to be trusted then"
        narinfo_of = fake.directory / f"{path.hash_part}.narinfo"
        good, wrong = (hash_of(dump(File(each))).base32 for each in (data, bad))
        narinfo_of.write_text(narinfo_of.read_text().replace(good, wrong))
        with pytest.raises(CacheError, match=r"the hash of its NAR is .* as promised"):
            open_sample(urls).closure([path])


def test_the_nar_hash_of_a_content_address_cannot_be_another_one(
    closure: Sample, fake: FakeCache
) -> None:
    """It names layers before any byte of them is fetched."""
    path = StorePath.parse("/nix/store/i3961bf27mr7n7jagvyyws3g6hcrrzka-dir")
    file = fake.directory / f"{path.hash_part}.narinfo"
    nar_hash = "0addczm9fjxkwraq3rf9z66ndy1w8scg7pi05xdyf4rjpl2h73gj"
    text = (
        f"StorePath: {path}\nURL: nar/x\nCompression: none\nNarSize: 240\nReferences: \n"
        f"CA: fixed:r:sha256:{nar_hash}\nNarHash: sha256:"
    )
    file.write_text(f"{text}{nar_hash}\n")
    assert len(open_sample(fake.url).closure([path])) == 1
    file.write_text(f"{text}{hash_of(b'').base32}\n")
    with pytest.raises(MissingPathsError, match="but it is not signed"):
        open_sample(fake.url).closure([path])
