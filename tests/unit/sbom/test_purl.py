"""Package URLs, against the Python library of their specification."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from packageurl import PackageURL

from nixdock.nix.closure import PathInfo
from nixdock.sbom.bill import BasePart, Package, Subject, SubjectKind, SystemPackage
from nixdock.sbom.purl import package_purl, subject_purl, system_purl
from tests.unit.closures import store_path

NAMES = st.text("abcXYZ012+-._~?=", min_size=1)
VERSIONS = st.text("abcXYZ012+-._~?=:^")


@given(NAMES, VERSIONS)
def test_packages(name: str, version: str) -> None:
    purl = package_purl(Package(name, version, (PathInfo(store_path("x")),)))
    read = PackageURL.from_string(purl)
    assert (read.type, read.name, read.version or "") == ("nix", name, version)
    assert read.to_string() == purl


@given(NAMES.map(str.lower), VERSIONS)
def test_packages_of_a_distribution(name: str, version: str) -> None:
    base = BasePart((), "debian", "12")
    package = SystemPackage("deb", name, version, "amd64", source="src+x", epoch="")
    purl = system_purl(package, base)
    read = PackageURL.from_string(purl)
    assert (read.namespace, read.name, read.version or "") == ("debian", name, version)
    assert read.qualifiers == {"arch": "amd64", "distro": "debian-12", "upstream": "src+x"}


def test_images() -> None:
    subject = Subject(
        SubjectKind.IMAGE, "me/App", "v1", "", "sha256:" + "a" * 64, None, "ghcr.io/me/app", "amd64"
    )
    purl = subject_purl(subject)
    assert purl is not None
    read = PackageURL.from_string(purl)
    assert (read.type, read.name, read.version) == ("oci", "app", "sha256:" + "a" * 64)
    assert read.qualifiers == {"arch": "amd64", "repository_url": "ghcr.io/me/app", "tag": "v1"}
    assert subject_purl(Subject(SubjectKind.IMAGE, "x", "v1", "")) is None
