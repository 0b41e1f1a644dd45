from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import StoreError
from nixdock.nix.cache_files import CacheInfo, parse_cache_info, parse_narinfo
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath

PATH = StorePath("/nix/store/181vsr4r0lmy17hvgfin4wvk8nwiw604-nixdock-demo")
TEXT = """\
StorePath: /nix/store/181vsr4r0lmy17hvgfin4wvk8nwiw604-nixdock-demo
URL: nar/1qxnqhw0bsh4h11l9cw49lakdgr1ql0r4jdmdkqxv0s2qs5zvzwr.nar.xz
Compression: xz
FileHash: sha256:1qxnqhw0bsh4h11l9cw49lakdgr1ql0r4jdmdkqxv0s2qs5zvzwr
FileSize: 1032
NarHash: sha256:19jx0w2lkc01abr0s5yq8ddx1n4fxk1brhp87nqfq7x5bf519a1v
NarSize: 2208
References: b9l27sb49xkl56fvhs84glig6fzmiand-nixdock-demo-greeting.txt
Sig: test-1:1MxavKvSfs1dRZ18iKz1f82xxILrQLcVnzB4c3xFolxay5hw0ttWmLup99igfivwkP7VMWbI10qK8Wgq52RVDg==
"""
GREETING = StorePath("/nix/store/b9l27sb49xkl56fvhs84glig6fzmiand-nixdock-demo-greeting.txt")


def test_a_narinfo_as_nix_writes_it() -> None:
    found = parse_narinfo(TEXT.encode(), PATH, "the file")
    assert found.info.path == PATH
    assert found.info.references == (GREETING,)
    assert found.info.deriver is None
    assert found.info.nar_size == 2208
    digest = "19jx0w2lkc01abr0s5yq8ddx1n4fxk1brhp87nqfq7x5bf519a1v"
    assert found.info.nar_hash == Hash.parse(f"sha256:{digest}")
    assert found.url == "nar/1qxnqhw0bsh4h11l9cw49lakdgr1ql0r4jdmdkqxv0s2qs5zvzwr.nar.xz"
    assert found.compression == "xz"
    assert found.file_size == 1032
    assert found.file_hash is not None
    assert found.file_hash.base32 == "1qxnqhw0bsh4h11l9cw49lakdgr1ql0r4jdmdkqxv0s2qs5zvzwr"
    assert [signature.partition(":")[0] for signature in found.signatures] == ["test-1"]
    assert found.ca is None


def test_other_fields_and_their_absence() -> None:
    deriver = "00mzihfnfn7zx3faymqgb1vq96f1ys1i-x.drv"
    extra = (
        f"Deriver: {deriver}\nSig: other-1:AAAA\nCA: fixed:r:sha256:x\nNew-Field: of a day: x\n\n"
    )
    found = parse_narinfo(f"{TEXT}{extra}".encode(), PATH, "the file")
    assert found.info.deriver == f"/nix/store/{deriver}"
    assert len(found.signatures) == 2
    assert found.ca == "fixed:r:sha256:x"
    few = without("Compression", "FileHash", "FileSize", "References", "Sig")
    found = parse_narinfo(f"{few}Deriver: unknown-deriver\nReferences:\nCA: \n".encode(), PATH, "x")
    assert found.compression == "bzip2"
    assert (found.file_hash, found.file_size, found.signatures, found.ca) == (None, None, (), None)
    assert (found.info.references, found.info.deriver) == ((), None)


def without(*names: str) -> str:
    lines = TEXT.splitlines(keepends=True)
    return "".join(line for line in lines if line.partition(":")[0] not in names)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it has no StorePath"),
        (without("URL"), "it has no URL"),
        (without("NarHash"), "it has no NarHash"),
        (without("NarSize"), "it has no NarSize, or 0"),
        (without("NarSize") + "NarSize: 0\n", "it has no NarSize, or 0"),
        (without("NarSize") + "NarSize: -1\n", "NarSize must be a number, not '-1'"),
        (without("NarSize") + "NarSize: 1e3\n", "NarSize must be a number, not '1e3'"),
        (
            without("NarSize") + f"NarSize: {2**63}\n",
            "NarSize must be a number, not '9223372036854775808'",
        ),
        (TEXT + "NarSize: 2208\n", "it has NarSize 2 times"),
        (TEXT + "References: \n", "it has References 2 times"),
        (
            without("References", "Sig") + f"References: {GREETING.base_name}",
            "its last line is not complete",
        ),
        (
            without("StorePath") + f"StorePath: {GREETING}\n",
            f"it is that of {GREETING}, not of {PATH}",
        ),
        (
            without("NarHash") + "NarHash: sha1:pyc8p2rfdsxhgzy9fmz4xm2hgp2xc5pz\n",
            "NarHash must be sha256",
        ),
        (
            without("NarHash") + "NarHash: sha256:AAAA\n",
            "NarHash: 'sha256:AAAA' is not a valid sha256 hash: 'AAAA' has 4 characters, not 52",
        ),
        (
            without("References") + "References: ../../etc/passwd\n",
            (
                "References: '/nix/store/../../etc/passwd' is not a store path: expected"
                " STORE_DIR/HASH-NAME, where HASH is 32 characters of Nix's base32 and NAME at most"
                " 211 of 0-9a-zA-Z+-._?="
            ),
        ),
        ("<html>\n", "line 1 is '<html>', not NAME: VALUE"),
        (TEXT + "URL\n", "line 10 is 'URL', not NAME: VALUE"),
        (TEXT + "Other:x\n", "line 10 is 'Other:x', not NAME: VALUE"),
        (TEXT + "Other: \x1b[31m\n", r"line 10 has a control character: 'Other: \\x1b[31m'"),
        (TEXT + "X: y\n" * 300_000, "it has more than 1048576 bytes"),
    ],
)
def test_a_narinfo_that_is_not_valid(text: str, problem: str) -> None:
    with pytest.raises(StoreError) as caught:
        parse_narinfo(text.encode(), PATH, "the file")
    assert str(caught.value) == f"the file is not a valid narinfo: {problem}"
    assert (caught.value.place, caught.value.path) == ("the file", PATH)


@pytest.mark.parametrize("deriver", ["", "   ", "unknown-deriver"])
def test_a_narinfo_without_a_deriver(deriver: str) -> None:
    found = parse_narinfo(f"{TEXT}Deriver: {deriver}\n".encode(), PATH, "the file")
    assert found.info.deriver is None


def test_a_narinfo_that_is_not_text() -> None:
    with pytest.raises(StoreError, match="it is not UTF-8 text"):
        parse_narinfo(b"\xff", PATH, "the file")


@given(st.text(st.sampled_from("SUNR :abc1\n\r\t/x-")) | st.text(), st.integers(0, len(TEXT)))
def test_any_text_is_a_narinfo_or_an_error(text: str, at: int) -> None:
    try:
        found = parse_narinfo((TEXT[:at] + text + TEXT[at:]).encode(), PATH, "the file")
    except StoreError:
        return
    assert found.info.path == PATH


def test_cache_infos() -> None:
    text = "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\nOther: field\n"
    found = parse_cache_info(text.encode(), "the file")
    assert found == CacheInfo("/nix/store", want_mass_query=True, priority=40)
    assert parse_cache_info(b"", "the file") == CacheInfo("/nix/store", False, 0)
    assert parse_cache_info(b"StoreDir: /gnu/store\n", "x").store_dir == "/gnu/store"
    with pytest.raises(StoreError) as caught:
        parse_cache_info(b"Priority: high\n", "the file")
    assert str(caught.value) == (
        "the file is not a valid nix-cache-info: Priority must be a number, not 'high'"
    )


@pytest.mark.parametrize(
    "text",
    [
        "StoreDir: /nix/store\r\nPriority: 30\r\n",
        "StoreDir:/nix/store\nPriority:30\n",
        "StoreDir: /nix/store \nPriority:\t30",
        "# The cache of our team\nStoreDir: /nix/store\n#\n\nPriority: 30\n",
    ],
)
def test_a_cache_info_that_somebody_wrote_by_hand(text: str) -> None:
    assert parse_cache_info(text.encode(), "x") == CacheInfo("/nix/store", False, 30)


def test_a_cache_that_comes_before_those_without_a_priority() -> None:
    assert parse_cache_info(b"Priority: -5\n", "x").priority == -5
    with pytest.raises(StoreError, match="Priority must be a number"):
        parse_cache_info(b"Priority: --5\n", "x")
