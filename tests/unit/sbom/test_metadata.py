"""Reading what a package set says of its packages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nixdock import InputError
from nixdock.sbom.bill import License, Meta
from nixdock.sbom.metadata import parse_metas, read_metas
from tests.unit.closures import store_path

PATH = store_path("hello-2.12")


def meta_of(meta: object, **members: object) -> Meta:
    entry = {"outputs": {"out": PATH}, "meta": meta, **members}
    return parse_metas({"hello": entry})[PATH].meta


def test_the_output_of_nix_env() -> None:
    """As `nix-env --query --available --json --meta --out-path` prints it."""
    document = {
        "nixpkgs.hello": {
            "name": "hello-2.12",
            "pname": "hello",
            "version": "2.12",
            "system": "x86_64-linux",
            "outputName": "out",
            "outputs": {"out": PATH, "debug": None},
            "meta": {
                "available": True,
                "description": "Program that\n  greets",
                "homepage": ["https://hello.example", "https://other.example"],
                "license": {
                    "fullName": "GNU General Public License v3.0 or later",
                    "shortName": "gpl3Plus",
                    "spdxId": "GPL-3.0-or-later",
                    "url": "https://spdx.org/licenses/GPL-3.0-or-later.html",
                },
            },
        }
    }
    package = parse_metas(document)[PATH]
    assert (package.pname, package.version, package.outputs) == ("hello", "2.12", {PATH: "out"})
    gpl = License(
        "GNU General Public License v3.0 or later",
        "GPL-3.0-or-later",
        "https://spdx.org/licenses/GPL-3.0-or-later.html",
    )
    assert package.meta == Meta("Program that greets", "https://hello.example", (gpl,))


@pytest.mark.parametrize(
    ("value", "licenses"),
    [
        ("free", [License("free")]),
        ([{"spdxId": "MIT"}, "x"], [License("MIT", "MIT"), License("x")]),
        ({"fullName": "Unfree", "url": "https://u.example"}, [License("Unfree", None, "https://u.example")]),
        ({"spdxId": "not an id", "shortName": "n"}, [License("n (not an id)")]),
        ({"spdxId": "AND"}, [License("AND")]),
        ([{"spdxId": "LicenseRef-x", "fullName": "X"}], [License("X (LicenseRef-x)")]),
        ({"spdxId": "LLVM-exception", "fullName": "LLVM"}, [License("LLVM (LLVM-exception)")]),
        ({"free": True}, []),
        (None, []),
    ],
)  # fmt: skip
def test_licenses(value: object, licenses: list[License]) -> None:
    assert meta_of({"license": value}).licenses == tuple(licenses)


def joined(operator: str, *licenses: object) -> dict[str, object]:
    """Make what `lib.licenses.AND` and `OR` of Nixpkgs return."""
    return {"licenseType": "compound", "operator": operator, "licenses": [*licenses]}


def excepted(license_: object, exception: object) -> dict[str, object]:
    """Make what `lib.licenses.WITH` returns."""
    members = {"license": license_, "exception": exception}
    return {"licenseType": "exception", "operator": "WITH", **members}


def plus(license_: object) -> dict[str, object]:
    """Make what `lib.licenses.PLUS` returns."""
    return {"licenseType": "plus", "operator": "+", "license": license_}


MIT = {"licenseType": "simple", "spdxId": "MIT", "fullName": "MIT License"}
ASL = {"licenseType": "simple", "spdxId": "Apache-2.0", "fullName": "Apache License 2.0"}
LLVM = {"licenseType": "simple", "spdxId": "LLVM-exception", "fullName": "LLVM Exception"}
OWN = {"licenseType": "simple", "shortName": "own", "fullName": "Own licence"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (joined("OR", MIT, ASL), [("MIT OR Apache-2.0", True)]),
        (joined("AND", MIT, ASL), [("MIT", True), ("Apache-2.0", True)]),
        ([MIT, joined("AND", ASL, OWN)],
         [("MIT", True), ("Apache-2.0", True), ("Own licence", False)]),
        (excepted(ASL, LLVM), [("Apache-2.0 WITH LLVM-exception", True)]),
        (joined("OR", excepted(ASL, LLVM), MIT), [("Apache-2.0 WITH LLVM-exception OR MIT", True)]),
        (joined("OR", joined("AND", MIT, ASL), MIT), [("(MIT AND Apache-2.0) OR MIT", True)]),
        (joined("OR", [MIT, ASL], MIT), [("(MIT AND Apache-2.0) OR MIT", True)]),
        (joined("OR", MIT, OWN), [("MIT OR Own licence", False)]),
        (joined("OR", MIT, MIT), [("MIT", True)]),
        (joined("OR"), []),
        (joined("OR", MIT, {}), [("MIT", True)]),
        (joined("XOR", MIT, ASL), [("MIT XOR Apache-2.0", False)]),
        (excepted(ASL, OWN), [("Apache-2.0 WITH Own licence", False)]),
        (excepted(OWN, LLVM), [("Own licence WITH LLVM Exception (LLVM-exception)", False)]),
        (excepted(joined("OR", MIT, ASL), LLVM),
         [("(MIT OR Apache-2.0) WITH LLVM Exception (LLVM-exception)", False)]),
        (excepted(ASL, {}), [("Apache-2.0", True)]),
        (plus({"spdxId": "EUPL-1.1"}), [("EUPL-1.1+", True)]),
        (plus({"spdxId": "GPL-2.0+"}), [("GPL-2.0+", True)]),
        (plus(OWN), [("Own licence or later", False)]),
    ],
)  # fmt: skip
def test_operators(value: object, expected: list[tuple[str, bool]]) -> None:
    """As `meta.license` has them in Nixpkgs since 26.05."""
    found = meta_of({"license": value}).licenses
    assert [(each.text, each.spdx_id is not None) for each in found] == expected


def test_licenses_in_an_expression_have_names() -> None:
    (found,) = meta_of({"license": joined("OR", OWN, excepted(ASL, LLVM))}).licenses
    assert found.names == ("Own licence", "Apache-2.0", "LLVM-exception")


def test_operators_in_operators() -> None:
    value: object = MIT
    for _ in range(100_000):
        value = plus(value)
    with pytest.raises(
        InputError, match=r"hello: `meta\.license` has more than 10 operators one in"
    ):
        meta_of({"license": value})


def nested(depth: int) -> object:
    value: object = "free"
    for _ in range(depth):
        value = [value]
    return value


def test_lists_in_lists() -> None:
    """They may be deeper than Python's stack."""
    assert meta_of({"license": nested(10)}).licenses == (License("free"),)
    with pytest.raises(InputError, match=r"hello: `meta\.license` has more than 10 lists one in"):
        meta_of({"license": nested(100_000)})


def test_identifiers() -> None:
    cpe = "cpe:2.3:a:gnu:hello:2.12:*:*:*:*:*:*:*"
    first = {"cpe": cpe, "purl": "pkg:a/b@1"}
    for identifiers in (first, {"v1": {"cpe": cpe, "purls": ["pkg:a/b@1"]}}):
        found = meta_of({"identifiers": identifiers})
        assert (found.cpe, found.purls) == (cpe, ("pkg:a/b@1",))


def test_patches_name_the_cves_that_they_mend() -> None:
    patches = ["CVE-2024-1234.patch", "0001-fix-cve_2023_99999-and-CVE-2024-1234.diff", "fix.patch"]
    assert meta_of({}, patches=patches).patched == ("CVE-2023-99999", "CVE-2024-1234")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], "is not an object of packages"),
        ({"a": 1}, "a: must be an object with `outputs`"),
        ({"a": {"outputs": {"out": "/x"}}}, "a: '/x' is not a store path"),
        ({"a": {"outputs": {}, "meta": []}}, "a: `meta` must be an object"),
        ({"a": {"outputs": {}, "patches": "x"}}, "a: `patches` must be a list"),
    ],
)
def test_errors_name_the_package(tmp_path: Path, document: object, reason: str) -> None:
    file = tmp_path / "meta.json"
    file.write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"{file}.*{reason}"):
        read_metas(file)
