"""Merging the registrations of several stores: nothing is lost and nothing is invented."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from nixdock.errors import ClosureError
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.registrations import merge_registrations
from nixdock.nix.store_path import StorePath
from nixdock.read.nix_store import ImageStore


def path(name: str) -> StorePath:
    return StorePath.parse(f"/nix/store/{'0' * 32}-{name}")


def info(name: str, *references: str, size: int = 1, deriver: str | None = None) -> PathInfo:
    digest = Hash("sha256", name.encode().ljust(32, b"."))
    return PathInfo(path(name), size, digest, tuple(map(path, references)), deriver)


def store(
    complete: Sequence[str], *registered: PathInfo, damaged: Sequence[str] = ()
) -> ImageStore:
    return ImageStore(frozenset(map(path, complete)), frozenset(map(path, damaged)), registered)


def test_the_union_of_base_and_added() -> None:
    base = store(["libc", "base"], info("libc"), info("base", "libc"))
    added = Closure.of([info("libc"), info("app", "libc", "app")])
    merged = merge_registrations([base], added)
    assert set(merged.closure.infos) == {path("libc"), path("base"), path("app")}
    assert set(merged.closure[path("app")].references) == {path("libc"), path("app")}
    assert merged.warnings == ()


def test_without_a_base_the_added_closure_is_unchanged() -> None:
    added = Closure.of([info("libc")])
    assert merge_registrations([], added).closure == added


def test_a_store_without_a_database_is_named_and_not_registered() -> None:
    base = ImageStore(frozenset({path("old"), path("shared")}))
    merged = merge_registrations([base], Closure.of([info("shared")]))
    assert set(merged.closure.infos) == {path("shared")}
    (warning,) = merged.warnings
    assert warning == f"{path('old')}: not registered: it is in a base image, but in no database"


def test_absent_paths_and_their_referrers_are_left_out() -> None:
    base = store(
        ["app", "lib", "fine"],
        info("gone"),
        info("lib", "gone"),
        info("app", "lib"),
        info("fine"),
    )
    merged = merge_registrations([base], Closure.of([]))
    assert set(merged.closure.infos) == {path("fine")}
    absent, dangling = merged.warnings
    assert absent.startswith(f"{path('gone')}: registered by a base image")
    assert dangling.startswith(f"{path('app')}, {path('lib')}: not registered")


def test_an_added_path_replaces_a_damaged_one() -> None:
    base = store(["lib"], info("gone"), info("lib", "gone"), damaged=["gone"])
    merged = merge_registrations([base], Closure.of([info("gone")]))
    assert set(merged.closure.infos) == {path("gone"), path("lib")}
    assert merged.warnings == ()


def test_damaged_paths_are_named() -> None:
    base = store([], info("half"), damaged=["half"])
    merged = merge_registrations([base], Closure.of([]))
    assert not len(merged.closure)
    assert any("deletes a part of it" in warning for warning in merged.warnings)


@pytest.mark.parametrize(
    "other",
    [info("lib", size=2), info("lib", "libc"), PathInfo(path("lib"), 1, Hash("sha256", bytes(32)))],
)
def test_contradictions_are_errors(other: PathInfo) -> None:
    libc = info("libc")
    one = store(["lib", "libc"], info("lib"), libc)
    two = store(["lib", "libc"], other, libc)
    with pytest.raises(ClosureError, match=f"{path('lib')} is registered with NAR hash") as caught:
        merge_registrations([one, two], Closure.of([]))
    assert caught.value.path == path("lib")
    with pytest.raises(ClosureError, match=f"{path('lib')} is registered with NAR hash"):
        merge_registrations([one], Closure.of([other, libc]))


def test_a_deriver_is_kept_from_either_store() -> None:
    drv = f"{path('x')}.drv"
    merged = merge_registrations([store(["x"], info("x", deriver=drv))], Closure.of([info("x")]))
    assert merged.closure[path("x")].deriver == drv


def test_long_lists_are_cut() -> None:
    names = [f"p{i}" for i in range(9)]
    base = ImageStore(frozenset(map(path, names)))
    (warning,) = merge_registrations([base], Closure.of([])).warnings
    assert "and 4 more" in warning


def test_a_long_chain_of_referrers_is_removed_in_one_pass() -> None:
    """Round by round, 20,000 paths take minutes."""
    paths = [StorePath(f"/nix/store/{i:032}-x") for i in range(20_001)]
    digest = Hash("sha256", bytes(32))
    chain = [PathInfo(a, 1, digest, (b,)) for a, b in pairwise(paths)]
    last = PathInfo(paths[-1], 1, digest, (paths[-1],))
    base = ImageStore(frozenset([*paths[:-1], path("fine")]), frozenset(), (*chain, last))
    merged = merge_registrations([base], Closure.of([info("fine")]))
    assert set(merged.closure.infos) == {path("fine")}
    assert merged.warnings[-1].endswith(
        "not registered: a path that it refers to is not in the image"
    )
