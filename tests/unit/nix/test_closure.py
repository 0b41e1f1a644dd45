"""Closures: each form in which Nix exports a graph, and the errors in malformed ones."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import ClosureError
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.reference_graph import parse_closure
from nixdock.nix.store_path import StorePath

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
        {"one": ENTRIES, "two": ENTRIES[1:], "outputs": {"out": "/x"}, "list": ["path"], "n": 1},
        {"one": ENTRIES, "objects": [{"name": "x"}], "mixed": [ENTRIES[0], 5], "null": None},
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


def test_a_registration_text_may_name_derivers() -> None:
    text = f"{B}\n{DIGEST.base16}\n20\n{C}.drv\n0\n"
    assert parse_closure(text.encode()) == parse([{**ENTRIES[1], "deriver": f"{C}.drv"}])


def test_keys_choose_graphs() -> None:
    document = {"one": ENTRIES, "two": ENTRIES[1:]}
    assert parse(document, "two") == parse(ENTRIES[1:])
    assert parse(document, "one", "two") == EXPECTED
    assert parse({**document, "broken": [{"path": A}]}, "one") == EXPECTED


def test_declared_graphs_take_precedence_over_lookalikes() -> None:
    document = {"exportReferencesGraph": {"g": [A]}, "g": ENTRIES, "other": [{"path": "x"}]}
    assert parse(document) == EXPECTED


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"one": ENTRIES}, "FILE: there is no key 'k'; the keys are: one"),
        ({}, "FILE: there is no key 'k'; the keys are: none"),
        ({"k": None}, "FILE: there is no key 'k'"),
        ({"k": {}}, "FILE: k: expected a list of path infos, got dict"),
        ({"k": [5]}, r"FILE: k\[0\]: expected an object, got int"),
    ],
)
def test_a_key_without_a_graph(document: object, message: str) -> None:
    with pytest.raises(ClosureError, match=message) as caught:
        parse(document, "k")
    assert caught.value.key in {"k", "k[0]"}


def test_graphs_that_contradict_each_other() -> None:
    document = {"one": ENTRIES, "two": [{**ENTRIES[1], "narHash": None}]}
    with pytest.raises(ClosureError, match=f"{B} appears twice .*nar_hash is .* and None"):
        parse(document)
    assert parse(document, "one") == EXPECTED


@pytest.mark.parametrize(
    ("deriver", "expected"),
    [(f"{C}.drv", f"{C}.drv"), ("", None), ("unknown-deriver", None), (None, None)],
)
def test_derivers(deriver: str | None, expected: str | None) -> None:
    (info,) = parse([{**ENTRIES[1], "deriver": deriver}])
    assert info.deriver == expected


def test_base_names_are_in_the_named_store() -> None:
    """Derivers included: a database needs their absolute paths."""
    name, other, deriver = (path.rpartition("/")[2] for path in (A, B, f"{C}.drv"))
    info = {
        name: {"references": [other], "narSize": 1, "deriver": deriver},
        other: {"references": [], "narSize": 2, "deriver": None},
    }
    for store in ("/nix/store", "/gnu/store"):
        first, second = parse({"version": 2, "storeDir": store, "info": info})
        assert first.path == f"{store}/{name}"
        assert first.references == (second.path,) == (f"{store}/{other}",)
        assert (first.deriver, second.deriver) == (f"{store}/{deriver}", None)
    assert {info.path for info in parse({"version": 2, "info": info})} == {A, B}


def test_only_the_references_are_required() -> None:
    (info,) = parse([{"path": B, "references": []}])
    assert info == PathInfo(StorePath(B), 0, None, (), None) == PathInfo(StorePath(B))


def test_references_are_a_set() -> None:
    first, _ = parse([{"path": A, "references": [B, A, B]}, {"path": B, "references": []}])
    assert first.references == (A, B)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "FILE: no reference graph in it"),
        (
            {"a": 1},
            (
                "no reference graph in it: expected a list of {path, narSize, references}, the"
                " output of `nix path-info --json --recursive` .Nix 2.34 and later: also"
                " `--json-format 1`., or a structured-attrs file with exportReferencesGraph"
            ),
        ),
        (
            {"exportReferencesGraph": {"g": [A]}},
            "there is no key 'g'; the keys are: exportReferencesGraph",
        ),
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
        ([{**ENTRIES[1], "narSize": 2**63}], f"{B}: narSize must be .* not {2**63}"),
        ([{**ENTRIES[1], "narSize": "20"}], f"{B}: narSize must be .* not '20'"),
        ([{**ENTRIES[1], "narSize": None}], f"{B}: narSize must be .* not None"),
        ([{**ENTRIES[1], "references": {}}], f"{B}: references must be a list"),
        ([{**ENTRIES[1], "references": [[B]]}], f"{B}: .* is not a store path"),
        ([{**ENTRIES[1], "narHash": {"algorithm": "sha256"}}], f"{B}: narHash must be a hash"),
        ([{**ENTRIES[1], "narHash": "x"}], f"{B}: 'x' is not a hash"),
        ([{**ENTRIES[1], "narHash": 5}], f"{B}: narHash must be a hash, not 5"),
        ([{**ENTRIES[1], "deriver": 5}], f"{B}: deriver must be a store path, not 5"),
        ([{**ENTRIES[1], "deriver": [C]}], f"{B}: deriver must be a store path, not "),
        ([{**ENTRIES[1], "deriver": {}}], f"{B}: deriver must be a store path, not {{}}"),
        ([{**ENTRIES[1], "deriver": f"{C}\n"}], f"{B}: deriver must be a store path, not "),
        ({"version": 2, "info": {B: None}}, f"{B} is not valid in the store"),
        ({"version": 2, "storeDir": 5, "info": {"x": {}}}, "x.path: '5/x' is not a store path"),
        ([{**ENTRIES[1], "valid": False}], f"{B} is not valid in the store"),
        ({B: None}, f"{B} is not valid in the store"),
        ({B: 5}, f"{B}: expected an object, got int"),
        (ENTRIES[:1], f"{A} refers to {B}, which is not in the closure"),
        ([*ENTRIES, {**ENTRIES[1], "narSize": 21}], f"{B} appears twice .*nar_size is 20"),
        ([*ENTRIES, {**ENTRIES[1], "references": [A]}], f"{B} appears twice .*references"),
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
def test_errors_name_the_path_or_key(document: object, message: str) -> None:
    with pytest.raises(ClosureError, match=message):
        parse(document)


@pytest.mark.parametrize("data", [b"{", b"[1,]", b'{"a": NaN}', b"[" * 2000, b'["\xff"]'])
def test_malformed_json(data: bytes) -> None:
    with pytest.raises(ClosureError, match="FILE is not valid JSON"):
        parse_closure(data, (), "FILE")


@pytest.mark.parametrize(
    ("document", "path", "key"),
    [
        ([{**ENTRIES[1], "narSize": -1}], B, "[0]"),
        ({"g": [ENTRIES[1], {**ENTRIES[0], "narHash": 5}]}, A, "g[1]"),
        ({"g": [{"path": "/x"}]}, "/x", "g[0].path"),
        ({"g": [ENTRIES[1]], "exportReferencesGraph": {"h": [B]}}, None, "h"),
        ({B: None}, B, B),
        (ENTRIES[:1], A, None),
        ([*ENTRIES, {**ENTRIES[1], "narSize": 21}], B, None),
        ([{"path": A, "references": [B]}, {"path": B, "references": [A]}], A, None),
    ],
)
def test_error_fields(document: object, path: str | None, key: str | None) -> None:
    with pytest.raises(ClosureError) as caught:
        parse(document)
    assert (caught.value.path, caught.value.key) == (path, key)


def test_a_bare_list_has_no_keys() -> None:
    with pytest.raises(ClosureError, match="a bare list has no key 'k'"):
        parse(ENTRIES, "k")


def test_registration_text_has_no_keys() -> None:
    text = f"{A}\n{DIGEST.base16}\n1\n\n0\n".encode()
    with pytest.raises(ClosureError, match="registration text has no key 'k'") as caught:
        parse_closure(text, ["k"])
    assert caught.value.key == "k"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{A}\n{DIGEST.base16}\n1\n\n1\n{B}\n", f"FILE: {A} refers to {B}, which is not in"),
        (f"{A}\nx\n1\n\n0\n", f"FILE: {A}: 'x' is not a valid sha256 hash"),
        (f"{A}\n{DIGEST.base16}\n1\n\n1\n/x\n", f"FILE: {A}: '/x' is not a store path"),
        (f"{A}\n{DIGEST.base16}\n{2**63}\n\n0\n", f"FILE: {A}: narSize must be"),
        (f"{A}\n{DIGEST.base16}\n1\nx\n0\n", f"FILE: {A}: 'x' is not a store path"),
        (f"/x\n{DIGEST.base16}\n1\n\n0\n", "FILE: '/x' is not a store path"),
        (f"{A}\n{DIGEST.base16}\n1\n", "FILE: line 4: expected a deriver, not the end of the text"),
        ("null", "FILE: line 1: expected a store path, not 'null'"),
    ],
)
def test_errors_in_a_registration_text(text: str, message: str) -> None:
    with pytest.raises(ClosureError, match=message):
        parse_closure(text.encode(), (), "FILE")


def test_equal_infos_may_recur() -> None:
    assert parse([*ENTRIES, *reversed(ENTRIES)]) == EXPECTED


def test_properties() -> None:
    assert EXPECTED.nar_size == 30
    assert EXPECTED.roots == (A,)
    assert len(EXPECTED) == 2
    assert A in EXPECTED
    assert C not in EXPECTED
    assert EXPECTED[StorePath(B)].nar_size == 20
    assert list(EXPECTED.graph.edges) == [(A, B)]


def test_without_removes_paths_and_references() -> None:
    rest = EXPECTED.without([StorePath(B)])
    assert [info.references for info in rest] == [(A,)]
    assert EXPECTED.without([StorePath(C)]) is EXPECTED


def test_without_cuts_a_graph_in_two() -> None:
    chain = parse(
        [
            {"path": A, "narSize": 1, "references": [B]},
            {"path": B, "narSize": 2, "references": [C]},
            {"path": C, "narSize": 4, "references": [], "narHash": DIGEST.sri},
        ]
    )
    rest = chain.without([StorePath(B)])
    assert rest.roots == (A, C)
    assert rest.nar_size == 5
    assert list(rest.graph.edges) == []
    assert rest[StorePath(C)] == chain[StorePath(C)]
    assert len(chain) == 3


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
def test_the_order_of_the_input_does_not_matter(infos: list[PathInfo], draw: random.Random) -> None:
    one, other = Closure.of(infos), Closure.of(draw.sample(infos, len(infos)))
    assert list(one) == list(other)
    assert list(one.graph.edges) == list(other.graph.edges)
    assert one.roots == other.roots


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_a_cycle_is_named_from_its_lowest_path(order: list[int], self_references: set[int]) -> None:
    """Three of six paths form a cycle; the error does not depend on the order of the input."""
    paths = [StorePath(f"/nix/store/{digit * 32}-p") for digit in DIGITS[:6]]
    references = {0: [1], 1: [4], 4: [3], 3: [1], 2: [], 5: [2]}
    infos = [
        PathInfo(
            paths[i],
            references=tuple(
                paths[j] for j in [*references[i], *([i] if i in self_references else [])]
            ),
        )
        for i in order
    ]
    ring = " -> ".join(paths[i] for i in (1, 4, 3, 1))
    with pytest.raises(ClosureError, match=f"the references form a cycle: {ring}$"):
        Closure.of(infos)


def test_a_long_cycle_is_named_in_part() -> None:
    paths = [StorePath(f"/nix/store/{i:032}-p") for i in range(5000)]
    with pytest.raises(ClosureError) as error:
        Closure.of(
            PathInfo(path, references=(after,))
            for path, after in zip(paths, [*paths[1:], paths[0]], strict=True)
        )
    assert str(error.value) == (
        f"the references form a cycle: {' -> '.join(paths[:7])} -> (4993 more) -> {paths[0]}"
    )


@given(dags(), st.data())
def test_what_roots_reach_is_the_least_closure(infos: list[PathInfo], data: st.DataObject) -> None:
    closure = Closure.of(infos)
    roots = data.draw(st.sets(st.sampled_from([info.path for info in infos])))
    reached = closure.reached_from(roots)
    assert Closure.of(reached) == reached
    assert roots <= set(reached.infos)
    assert set(reached.roots) <= roots


@given(dags(), st.data())
def test_the_rest_is_a_closure(infos: list[PathInfo], data: st.DataObject) -> None:
    closure = Closure.of(infos)
    excluded = data.draw(st.sets(st.sampled_from([info.path for info in infos])))
    rest = closure.without(excluded)
    assert set(rest.infos) == set(closure.infos) - excluded
    assert Closure.of(rest) == rest
    assert rest.nar_size == sum(i.nar_size for i in infos if i.path not in excluded)


@given(dags())
def test_roots_have_no_other_referrers(infos: list[PathInfo]) -> None:
    referred = {r for info in infos for r in info.references if r != info.path}
    assert set(Closure.of(infos).roots) == {info.path for info in infos} - referred


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x1f\x8b\x08\x00", "FILE is a gzip file, not a reference graph"),
        (b"x" + bytes(256) + b"ustar", "FILE is a tar, not a reference graph"),
        (b'{"version": 1, "name": "x"}', "FILE: it is an image spec, not a reference graph"),
    ],
)
def test_other_files_than_graphs_are_called_by_their_names(data: bytes, message: str) -> None:
    with pytest.raises(ClosureError, match=f"^{message}"):
        parse_closure(data, (), "FILE")
