"""`packageMeta`, and the bill of materials with it."""

from __future__ import annotations

import json

import pytest

import nixdock

from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]


def test_packages_and_what_they_are_built_from(library: Library) -> None:
    """One of them can't be evaluated, and one is only an argument of another."""
    file = library.build(
        """nixdock.packageMeta [
             (derivation { name = "app-1.2"; system = "x86_64-linux"; builder = "/bin/sh";
                outputs = [ "out" "dev" ]; tools = [ pkgs.hello ]; } // {
                pname = "app"; version = "1.2"; patches = [ ./CVE-2024-1234.patch ];
                meta = { license = { spdxId = "MIT"; fullName = "MIT License"; };
                         description = "An app"; position = throw "no"; broken = x: x; };
                drvAttrs.tools = [ pkgs.hello (throw "can't be evaluated") ]; })
           ]"""
    )
    document = json.loads(file.read_text())
    by_name = {entry["pname"]: entry for entry in document.values()}
    app = by_name["app"]
    assert app["version"] == "1.2"
    assert sorted(app["outputs"]) == ["dev", "out"]
    assert app["patches"] == ["CVE-2024-1234.patch"]
    assert app["meta"]["license"] == [{"spdxId": "MIT", "fullName": "MIT License"}]
    assert app["meta"]["description"] == "An app"
    assert "hello" in by_name


def test_expressions_of_licenses(library: Library) -> None:
    """The operators of `lib.licenses` make them, since Nixpkgs 26.05."""
    file = library.build(
        """with pkgs.lib.licenses; nixdock.packageMeta [
             (derivation { name = "app-1.2"; system = "x86_64-linux"; builder = "/bin/sh"; } // {
                meta.license = {
                  licenseType = "compound"; operator = "OR"; licenses = [
                    (mit // { licenseType = "simple"; free = true; })
                    { licenseType = "exception"; operator = "WITH"; license = asl20;
                      exception = { spdxId = "LLVM-exception"; f = x: x; }; }
                  ]; }; })
           ]"""
    )
    graph = [{"path": path, "references": []} for path in _outputs(json.loads(file.read_text()))]
    closure = nixdock.parse_closure(json.dumps(graph).encode())
    (package,) = nixdock.list_packages(closure, meta=file).packages
    (license_,) = package.meta.licenses
    assert license_.spdx_id == "MIT OR Apache-2.0 WITH LLVM-exception"


def _outputs(document: dict[str, dict[str, dict[str, str]]]) -> list[str]:
    return [path for entry in document.values() for path in entry["outputs"].values()]


def test_a_bill_of_materials_has_the_metadata(library: Library) -> None:
    graph = library.build(
        """pkgs.runCommand "graph.json" { __structuredAttrs = true;
             exportReferencesGraph.closure = [ pkgs.hello ]; } "cp $NIX_ATTRS_JSON_FILE $out" """
    )
    meta = library.build("nixdock.packageMeta [ pkgs.hello ]")
    bill = nixdock.list_packages(nixdock.read_closure(graph), meta=meta)
    hello = json.loads(meta.read_text())
    versions = {entry["pname"]: entry["version"] for entry in hello.values() if entry["pname"]}
    found = {package.name: package.version for package in bill.packages}
    assert found["hello"] == versions["hello"]
