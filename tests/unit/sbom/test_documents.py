"""SPDX and CycloneDX documents: valid, read by other libraries, and true."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import nixdock
from nixdock import Bill, InputError, list_packages, sbom_json
from nixdock.nix.closure import PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.sbom.bill import BasePart, License, Meta, Package, Subject, SubjectKind, SystemPackage
from nixdock.sbom.metadata import parse_metas
from tests.unit.closures import store_path
from tests.unit.docker_archive import archive, layer
from tests.unit.registry.fake_registry import fake_registry
from tests.unit.sbom.readers import cyclonedx, references, spdx

GRAPHS = Path(__file__).parents[2] / "data/graphs"
CVE = "CVE-2024-1234"
CPE = "cpe:2.3:a:gnu:hello:2.12:*:*:*:*:*:*:*"


def subject(**changes: object) -> Subject:
    created = "2026-01-31T12:00:00Z"
    return replace(Subject(SubjectKind.IMAGE, "me/app", "v1", created), **changes)


def output(name: str, *references: str) -> PathInfo:
    paths = tuple(store_path(reference) for reference in references)
    drv = store_path(f"{name}.drv")
    return PathInfo(store_path(name), 100, Hash("sha256", bytes(32)), paths, drv)


MIT = License("MIT License", "MIT", "https://mit.example")
OWN = License("Own, unfree", None, "https://own.example")
HELLO = Package(
    "hello",
    "2.12",
    (output("hello-2.12", "glibc-2.39"), output("hello-2.12-dev")),
    (store_path("glibc-2.39"),),
    Meta("Greets", "https://hello.example", (MIT, OWN), CPE, ("pkg:github/a/b@1",), (CVE,)),
)
GLIBC = Package("glibc", "2.39", (output("glibc-2.39"),), ())
LOST = Package("lost", "", (PathInfo(store_path("lost")),), None, Meta(licenses=(MIT,)))
DASH = SystemPackage(
    "deb", "dash", "0.5.12-2", "amd64", license="BSD and GPL", homepage="not a URL"
)
BASE = BasePart(("sha256:" + "b" * 64,), "debian", "12", "Debian 12", (DASH,))
BILL = Bill(subject(digest="sha256:" + "a" * 64), (HELLO, GLIBC, LOST), BASE)


def by_name(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (one,) = (each for each in found if each["name"] == name)
    return one


def test_cyclonedx() -> None:
    document = cyclonedx(BILL)
    hello = by_name(document["components"], "hello")
    assert hello["purl"] == "pkg:nix/hello@2.12"
    assert hello["cpe"] == CPE
    assert [each["name"] for each in hello["components"]] == [
        path.base_name for path in (store_path("hello-2.12"), store_path("hello-2.12-dev"))
    ]
    assert hello["pedigree"]["patches"][0]["resolves"] == [{"type": "security", "id": CVE}]
    assert hello["pedigree"]["ancestors"][0]["purl"] == "pkg:github/a/b@1"
    assert [each["license"]["name"] for each in hello["licenses"]] == ["MIT", "Own, unfree"]
    glibc = by_name(document["components"], "glibc")
    assert {each["name"]: each["value"] for each in glibc["properties"]} == {
        "nix:store_path": store_path("glibc-2.39"),
        "nix:narinfo:store_path": store_path("glibc-2.39"),
        "nix:narinfo:nar_hash": f"sha256-{'A' * 43}=",
        "nix:narinfo:nar_size": "100",
        "nix:narinfo:deriver": store_path("glibc-2.39.drv"),
    }
    assert glibc["hashes"] == [{"alg": "SHA-256", "content": "00" * 32}]
    lost = by_name(document["components"], "lost")
    assert lost["licenses"] == [{"expression": "MIT", "acknowledgement": "declared"}]
    base = by_name(document["components"], "debian")
    assert (
        base["components"][0]["purl"] == "pkg:deb/debian/dash@0.5.12-2?arch=amd64&distro=debian-12"
    )
    assert {each["ref"]: each["dependsOn"] for each in document["dependencies"]} == {
        "subject": [HELLO.path, LOST.path, "base"],
        HELLO.path: [GLIBC.path],
        GLIBC.path: [],
    }
    assert document["compositions"] == [
        {"aggregate": "incomplete", "assemblies": ["subject"]},
        {"aggregate": "incomplete", "assemblies": ["base"]},
        {"aggregate": "complete", "dependencies": [HELLO.path, GLIBC.path]},
        {"aggregate": "unknown", "dependencies": [LOST.path]},
    ]
    known = {*references(document)}
    assert {ref for each in document["dependencies"] for ref in each["dependsOn"]} <= known


def test_spdx() -> None:
    document = spdx(BILL)
    hello = by_name(document["packages"], "hello")
    located = {
        each["referenceType"]: each["referenceLocator"] for each in hello["externalRefs"][2:]
    }
    assert [each["referenceLocator"] for each in hello["externalRefs"][:2]] == [
        "pkg:nix/hello@2.12",
        "pkg:github/a/b@1",
    ]
    assert located == {"cpe23Type": CPE, "nix-store-path": store_path("hello-2.12-dev")}
    assert CVE in hello["sourceInfo"]
    (other, _) = sorted(
        document["hasExtractedLicensingInfos"], key=lambda each: each["name"], reverse=True
    )
    assert other["name"] == "Own, unfree"
    assert hello["licenseDeclared"] == f"MIT AND {other['licenseId']}"
    (checksum,) = by_name(document["packages"], "glibc")["checksums"]
    assert checksum == {"algorithm": "SHA256", "checksumValue": "00" * 32}
    ids = {each["SPDXID"]: each["name"] for each in document["packages"]}
    related = {
        (ids.get(each["spdxElementId"]), each["relationshipType"],
         ids.get(each["relatedSpdxElement"], each["relatedSpdxElement"]))
        for each in document["relationships"]
    }  # fmt: skip
    assert related == {
        (None, "DESCRIBES", "me/app"),
        *(("me/app", "CONTAINS", name) for name in ("hello", "glibc", "lost", "debian")),
        ("debian", "CONTAINS", "dash"),
        ("hello", "DEPENDS_ON", "glibc"),
        ("glibc", "DEPENDS_ON", "NONE"),
        ("lost", "DEPENDS_ON", "NOASSERTION"),
    }


def test_names_that_differ_only_in_characters_that_no_identifier_has() -> None:
    """Hostile images have such store paths, and identifiers in a document are unique."""
    paths = [StorePath(f"/nix/store/{'a' * 32}-{name}") for name in ("a+b", "a_b", "a-b", "a=b")]
    paths.append(StorePath(f"/gnu/store/{'a' * 32}-a-b"))
    packages = [Package(path, "", (PathInfo(path),), tuple(paths)) for path in sorted(paths)]
    document = spdx(Bill(subject(), tuple(packages)))
    ids = {each["SPDXID"] for each in document["packages"]}
    assert len(ids) == 1 + len(paths)
    depending = {
        (each["spdxElementId"], each["relatedSpdxElement"]) for each in document["relationships"]
    }
    assert len(depending) == 1 + len(paths) + len(paths) ** 2


def test_an_unexamined_base_is_said_to_be_one() -> None:
    bill = replace(BILL, base=replace(BASE, packages=(), unread="no database"))
    assert {"aggregate": "unknown", "assemblies": ["base"]} in cyclonedx(bill)["compositions"]
    document = spdx(bill)
    assert "Not examined: no database." in by_name(document["packages"], "debian")["comment"]
    relationship = {
        "spdxElementId": "SPDXRef-base",
        "relationshipType": "CONTAINS",
        "relatedSpdxElement": "NOASSERTION",
    }
    assert relationship in document["relationships"]


def test_a_base_of_which_a_part_was_examined() -> None:
    bill = replace(BILL, base=replace(BASE, unread="one is strange"))
    assert {"aggregate": "incomplete", "assemblies": ["base"]} in cyclonedx(bill)["compositions"]
    relationships = spdx(bill)["relationships"]
    contained = [each for each in relationships if each["spdxElementId"] == "SPDXRef-base"]
    assert len(contained) == 1 + len(BASE.packages) > 1


def test_identifiers_follow_from_the_content() -> None:
    other = replace(BILL, packages=(HELLO, GLIBC))
    for key, read in (("serialNumber", cyclonedx), ("documentNamespace", spdx)):
        assert read(BILL)[key] == read(BILL)[key] != read(other)[key]


def test_other_formats_are_refused() -> None:
    with pytest.raises(InputError, match="'swid' is not a format"):
        sbom_json(BILL, "swid")


@pytest.mark.parametrize("name", ["nginx.2026-11-18", "imagemagick.2026-11-18", "openjdk.trixie"])
def test_closures_of_real_products(name: str) -> None:
    data = gzip.decompress((GRAPHS / f"{name}.json.gz").read_bytes())
    closure = nixdock.parse_closure(data)
    bill = list_packages(closure)
    document = cyclonedx(bill)
    spdx(bill)
    outputs = [info.path for package in bill.packages for info in package.outputs]
    assert sorted(outputs) == [*closure.infos]
    assert all(each["dependsOn"] for each in document["dependencies"][:1])
    assert document["compositions"][0] == {"aggregate": "complete", "assemblies": ["subject"]}


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
words = texts.filter(str.strip)
urls = st.sampled_from(["", "https://x.example/a b", "https://x.example/~a?b=%20"]) | texts
licenses = st.builds(License, words, st.sampled_from([None, "MIT", "0BSD"]), urls)
metas = st.builds(Meta, texts, urls, st.lists(licenses, max_size=2).map(tuple))
kinds = st.sampled_from(["deb", "apk", "rpm"])
system_packages = st.builds(
    SystemPackage, kinds, words, words, texts, license=texts, homepage=urls, description=texts
)


@settings(max_examples=15)
@given(st.lists(metas, max_size=4), st.lists(system_packages, max_size=3))
def test_no_text_makes_a_document_invalid(meta: list[Meta], system: list[SystemPackage]) -> None:
    packages = tuple(
        Package(f"p{i}", "1", (output(f"p{i}-1"),), (), each) for i, each in enumerate(meta)
    )
    bill = Bill(subject(), packages, replace(BASE, packages=tuple(sorted({*system}))))
    cyclonedx(bill)
    spdx(bill)


@pytest.mark.parametrize(
    "stated", ["AND", "or", "LicenseRef-foo", "DocumentRef-x", "NOASSERTION", "LLVM-exception"]
)
def test_words_that_are_no_licenses_are_not_in_expressions(stated: str) -> None:
    """They have a meaning of their own there, or refer to what is in no document."""
    path = store_path("a-1")
    licenses = [{"spdxId": "MIT"}, {"spdxId": stated, "fullName": "Foo"}]
    metas = parse_metas({"a": {"outputs": {"out": path}, "meta": {"license": licenses}}})
    bill = Bill(subject(), (Package("a", "1", (PathInfo(path),), (), metas[path].meta),))
    document = spdx(bill)
    (other,) = document["hasExtractedLicensingInfos"]
    assert other["extractedText"] == f"Foo ({stated})"
    declared = by_name(document["packages"], "a")["licenseDeclared"]
    assert declared == f"MIT AND {other['licenseId']}"
    (component,) = cyclonedx(bill)["components"]
    assert [each["license"]["name"] for each in component["licenses"]] == ["MIT", f"Foo ({stated})"]


def test_expressions_of_licenses() -> None:
    """A choice is one of several licences that all apply."""
    choice = License("MIT OR 0BSD", "MIT OR 0BSD", parts=("MIT", "0BSD"))
    exception = License("x", "Apache-2.0 WITH LLVM-exception")
    for licenses, expression in (
        ((choice,), "MIT OR 0BSD"),
        ((choice, exception), "(MIT OR 0BSD) AND Apache-2.0 WITH LLVM-exception"),
    ):
        bill = Bill(subject(), (replace(GLIBC, meta=Meta(licenses=licenses)),))
        assert by_name(spdx(bill)["packages"], "glibc")["licenseDeclared"] == expression
        (component,) = cyclonedx(bill)["components"]
        assert component["licenses"] == [{"expression": expression, "acknowledgement": "declared"}]
    bill = Bill(subject(), (replace(GLIBC, meta=Meta(licenses=(choice, OWN))),))
    document = spdx(bill)
    (other,) = document["hasExtractedLicensingInfos"]
    declared = by_name(document["packages"], "glibc")["licenseDeclared"]
    assert declared == f"(MIT OR 0BSD) AND {other['licenseId']}"


@pytest.fixture
def sources(tmp_path: Path, sample_spec: Callable[..., Path]) -> dict[str, Path]:
    """Give a graph, a spec, the resolved spec and the image of it, on a base image."""
    base = archive(
        tmp_path / "base.tar", [layer(("var/lib/dpkg/status", "Package: dash\nVersion: 1\n"))]
    )
    spec = sample_spec(tmp_path, nix_db=True, from_image={"path": str(base)})
    resolved = tmp_path / "resolved.json"
    resolved.write_bytes(nixdock.spec_json(nixdock.resolve_spec(nixdock.read_spec(spec)).spec))
    image = tmp_path / "image.tar"
    nixdock.build_image(nixdock.read_spec(spec), image)
    return {"graph": tmp_path / "graph.json", "spec": spec, "resolved": resolved, "image": image}


def test_all_sources_tell_the_same(sources: dict[str, Path]) -> None:
    bills = {name: list_packages(path) for name, path in sources.items()}
    graph = bills["graph"]
    assert [package.name for package in graph.packages] == ["libc", "script", "link", "app"]
    assert len(graph.packages[3].dependencies or ()) == 3
    assert graph.packages == bills["spec"].packages == bills["resolved"].packages
    assert graph.packages == bills["image"].packages
    assert bills["spec"] == bills["resolved"]
    assert graph.base is None
    assert bills["image"].base == bills["spec"].base
    assert [each.name for each in bills["spec"].base.packages] == ["dash"]  # type: ignore[union-attr]
    image = bills["image"].subject
    assert (image.name, image.version, image.architecture) == ("x/y", "v1", "amd64")
    assert image.digest is not None
    for bill in bills.values():
        cyclonedx(bill)
        spdx(bill)


def test_references_are_unknown_without_a_database(
    tmp_path: Path, sample_spec: Callable[..., Path]
) -> None:
    image = tmp_path / "image.tar"
    nixdock.build_image(nixdock.read_spec(sample_spec(tmp_path)), image)
    bill = list_packages(image)
    assert [package.dependencies for package in bill.packages] == [None] * 4
    assert bill.base is None


def test_an_image_with_an_empty_name(tmp_path: Path) -> None:
    file = archive(tmp_path / "image.tar", [layer(("etc/passwd", "x"))], names=[":v1"])
    bill = list_packages(file)
    assert (bill.subject.name, bill.subject.version) == ("image", "v1")
    cyclonedx(bill)
    spdx(bill)


def test_images_of_other_tools(tmp_path: Path) -> None:
    """Store paths alone are no base image; other files are one that was not examined."""
    path = store_path("hello-2.12")
    paths = layer((f"{path}/bin/hello".lstrip("/"), "x"))
    bill = list_packages(archive(tmp_path / "nix.tar", [paths]))
    assert [(package.name, package.version) for package in bill.packages] == [("hello", "2.12")]
    assert bill.base is None
    bill = list_packages(archive(tmp_path / "more.tar", [paths, layer(("etc/passwd", "x"))]))
    assert len(bill.packages) == 1
    assert bill.base is not None
    assert len(bill.base.diff_ids) == 2
    assert bill.base.unread


def test_images_in_a_registry(tmp_path: Path, sample_spec: Callable[..., Path]) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path, nix_db=True))
    with fake_registry() as registry:
        reference = f"{registry.host}/me/app:v1"
        access = nixdock.Access(insecure=True)
        pushed = nixdock.push_image(spec, [reference], access=access)
        bill = list_packages(f"docker://{reference}", access=access)
    assert bill.subject.digest == pushed.digest
    assert bill.subject.repository == f"{registry.host}/me/app"
    assert bill.packages == list_packages(spec).packages
    assert spdx(bill)["packages"][0]["externalRefs"][0]["referenceLocator"].startswith(
        "pkg:oci/app@"
    )
