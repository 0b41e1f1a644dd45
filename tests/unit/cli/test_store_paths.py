"""Store paths by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from nixdock import InputError, StorePath
from nixdock.cli.store_paths import member_named, path_named, store_path_at

HELLO, GLIBC, DEV, SSL, OLD_SSL, NAMED_LIKE_A_HASH = PATHS = [
    StorePath(f"/nix/store/{letter * 32}-{name}")
    for letter, name in (
        ("a", "hello-2.10-3"),
        ("b", "glibc-2.39-5"),
        ("c", "openssl-3.0.13-dev"),
        ("d", "openssl-3.0.13"),
        ("f", "openssl-1.1.1w"),
        ("g", "aaaa"),
    )
]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (HELLO, HELLO),
        (HELLO.base_name, HELLO),
        ("hello-2.10-3", HELLO),
        ("hello", HELLO),
        ("openssl-dev", DEV),
        ("openssl-1.1.1w", OLD_SSL),
        ("dddd", SSL),
        ("aaaaa", HELLO),
        ("aaaa", NAMED_LIKE_A_HASH),
    ],
)
def test_a_unique_name_is_enough(text: str, path: StorePath) -> None:
    assert path_named(text, PATHS) == member_named(text, PATHS) == path


def test_an_ambiguous_name() -> None:
    with pytest.raises(InputError) as caught:
        path_named("openssl", PATHS)
    assert str(caught.value) == (
        "'openssl' is the name of 2 store paths; give HASH-NAME of one:"
        f" {SSL.base_name}, {OLD_SSL.base_name}"
    )


def test_a_mistyped_name() -> None:
    with pytest.raises(InputError) as caught:
        path_named("helo", PATHS)
    assert str(caught.value) == (
        "'helo' is neither a store path nor the name of one in the closure; did you mean"
        f" {HELLO.base_name}?"
    )
    with pytest.raises(InputError, match=r"one in the closure$"):
        path_named("zzz", PATHS)


def test_a_complete_path_may_be_elsewhere() -> None:
    other = StorePath(f"/nix/store/{'1' * 32}-hello-2.10-3")
    assert path_named(other, PATHS) == other
    with pytest.raises(InputError) as caught:
        member_named(other, PATHS)
    assert str(caught.value) == f"{other} is not in the closure; it contains {HELLO.base_name}"
    with pytest.raises(InputError, match="'/nix/hello' is not a store path"):
        path_named("/nix/hello", PATHS)


def test_what_leads_into_the_store_is_the_store_path_there(tmp_path: Path) -> None:
    (tmp_path / "result").symlink_to(HELLO)
    (tmp_path / "program").symlink_to(f"{HELLO}/bin/hello")
    for text in (HELLO, f"{tmp_path}/result", f"{tmp_path}/program"):
        assert store_path_at(str(text)) == HELLO
    (tmp_path / "circle").symlink_to("circle")
    for text in (str(tmp_path), f"{tmp_path}/none", f"{tmp_path}/circle", ""):
        with pytest.raises(InputError, match="is not a store path"):
            store_path_at(text)
