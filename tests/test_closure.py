"""Closures from every form that Nix exports, and what is wrong with others."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.closure import Closure, PathInfo, parse_closure
from nixdock.errors import ClosureError
from nixdock.store_path import Hash, StorePath

DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"
A, B, C = (f"/nix/store/{digit * 32}-{name}" for digit, name in zip("123", "abc", strict=True))
DIGEST = Hash("sha256", bytes(range(32)))
ENTRIES: list[dict[str, Any]] = [
    {"path": A, "narSize": 10, "references": [B, A], "narHash": f"sha256:{DIGEST.base32}"},
    {"path": B, "narSize": 20, "references": [], "narHash": DIGEST.sri},
]
EXPECTED = Closure.of(
    [
        PathInfo(StorePath(A), 10, DIGEST, (StorePath(A), StorePath(B))),
        PathInfo(StorePath(B), 20, DIGEST),
    ]
)


def parse(document: object, *keys: str) -> Closure:
    return parse_closure(json.dumps(document).encode(), keys, "FILE")


def without_path(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "path"}


def base_names(entry: dict[str, Any]) -> dict[str, Any]:
    digest = {"algorithm": "sha256", "format": "base16", "hash": DIGEST.base16}
    names = [path.rpartition("/")[2] for path in entry["references"]]
    return {**without_path(entry), "references": names, "narHash": digest}


@pytest.mark.parametrize(
    "document",
    [
        ENTRIES,
        [{**entry, "valid": True, "registrationTime": 5, "unknown": {}} for entry in ENTRIES],
        {entry["path"]: without_path(entry) for entry in ENTRIES},
        {"closure": ENTRIES},
        {"exportReferencesGraph": {"one": [A], "two": [B]}, "one": ENTRIES, "two": ENTRIES[1:]},
        {"one": ENTRIES, "two": ENTRIES[1:], "outputs": {"out": "/x"}, "list": ["a"], "n": 1},
        {
            "version": 2,
            "storeDir": "/nix/store",
            "info": {entry["path"].rpartition("/")[2]: base_names(entry) for entry in ENTRIES},
        },
    ],
)
def test_every_form_gives_the_same_closure(document: object) -> None:
    assert parse(document) == EXPECTED


def test_registration_text_in_both_notations() -> None:
    for digest in (f"sha256:{DIGEST.base32}", DIGEST.base16):
        text = f"{A}\n{digest}\n10\n\n2\n{A}\n{B}\n{B}\n{digest}\n20\n\n0\n"
        assert parse_closure(text.encode()) == EXPECTED


def test_keys_choose_graphs() -> None:
    document = {"one": ENTRIES, "two": ENTRIES[1:]}
    assert parse(document, "two") == parse(ENTRIES[1:])
    assert parse(document, "one", "two") == EXPECTED


def test_derivers() -> None:
    for deriver, expected in ((f"{C}.drv", f"{C}.drv"), ("", None), ("unknown-deriver", None)):
        (info,) = parse([{**ENTRIES[1], "deriver": deriver}])
        assert info.deriver == expected


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "FILE: no reference graph in it"),
        ({"a": 1}, "no reference graph in it"),
        ({"exportReferencesGraph": {"g": [A]}}, "no key 'g'; there are: exportReferencesGraph"),
        ({"exportReferencesGraph": {"g": [A]}, "g": 5}, "g: expected a list .*, got int"),
        ({"g": [{"path": "x"}]}, r"g\[0\].path: '/nix/store/x' is not a store path"),
        ([{}], r"\[0\].path: None is not a store path"),
        (["x"], r"\[0\]: expected an object, got str"),
        ([{"path": A}], f"{A}: references must be a list of store paths, not None"),
        ([{**ENTRIES[1], "references": ["y"]}], f"{B}: '/nix/store/y' is not a store path"),
        ([{**ENTRIES[1], "references": [5]}], f"{B}: 5 is not a store path"),
        ([{**ENTRIES[1], "narSize": -1}], f"{B}: narSize must be .* not -1"),
        ([{**ENTRIES[1], "narSize": True}], f"{B}: narSize must be .* not True"),
        ([{**ENTRIES[1], "narSize": 1.5}], f"{B}: narSize must be .* not 1.5"),
        ([{**ENTRIES[1], "narHash": "x"}], f"{B}: 'x' is not a hash"),
        ([{**ENTRIES[1], "narHash": 5}], f"{B}: narHash must be a hash, not 5"),
        ([{**ENTRIES[1], "deriver": 5}], f"{B}: deriver must be a store path, not 5"),
        ([{**ENTRIES[1], "valid": False}], f"{B} is not valid in the store"),
        ({B: None}, f"{B} is not valid in the store"),
        ({B: 5}, f"{B}: expected an object, got int"),
        (ENTRIES[:1], f"{A} refers to {B}, which is not in the closure"),
        ([*ENTRIES, {**ENTRIES[1], "narSize": 21}], f"{B} stands twice .*nar_size is 20"),
        ([*ENTRIES, {**ENTRIES[1], "references": [A]}], f"{B} stands twice .*references"),
        (
            [
                {"path": A, "references": [B]},
                {"path": B, "references": [C]},
                {"path": C, "references": [C, A]},
            ],
            f"the references form a cycle: {A} -> {B} -> {C} -> {A}",
        ),
    ],
)
def test_errors_name_what_is_wrong(document: object, message: str) -> None:
    with pytest.raises(ClosureError, match=message):
        parse(document)


@pytest.mark.parametrize("data", [b"{", b"[1,]", b'{"a": NaN}', b"[" * 2000, b'["\xff"]'])
def test_malformed_json(data: bytes) -> None:
    with pytest.raises(ClosureError, match="FILE: not valid JSON"):
        parse_closure(data, (), "FILE")


def test_a_bare_list_has_no_keys() -> None:
    with pytest.raises(ClosureError, match="a bare list has no key 'k'"):
        parse(ENTRIES, "k")


def test_the_same_twice_is_once() -> None:
    assert parse([*ENTRIES, *reversed(ENTRIES)]) == EXPECTED


def test_what_a_closure_tells() -> None:
    assert EXPECTED.nar_size == 30
    assert EXPECTED.roots == (A,)
    assert len(EXPECTED) == 2
    assert A in EXPECTED
    assert C not in EXPECTED
    assert EXPECTED[StorePath(B)].nar_size == 20
    assert list(EXPECTED.graph.edges) == [(A, B)]


def test_without_leaves_no_trace() -> None:
    rest = EXPECTED.without([StorePath(B)])
    assert [info.references for info in rest] == [(A,)]
    assert EXPECTED.without([StorePath(C)]) is EXPECTED


@st.composite
def dags(draw: st.DrawFn) -> list[PathInfo]:
    size = draw(st.integers(1, 12))
    paths = [StorePath(f"/nix/store/{DIGITS[i] * 32}-p") for i in range(size)]
    return [
        PathInfo(
            path,
            draw(st.integers(0, 2**40)),
            references=tuple(sorted(draw(st.sets(st.sampled_from(paths[i:]), max_size=3)))),
        )
        for i, path in enumerate(paths)
    ]


@given(dags(), st.randoms(use_true_random=False))
def test_the_inputs_order_does_not_matter(infos: list[PathInfo], draw: random.Random) -> None:
    one, other = Closure.of(infos), Closure.of(draw.sample(infos, len(infos)))
    assert list(one) == list(other)
    assert list(one.graph.edges) == list(other.graph.edges)
    assert one.roots == other.roots
