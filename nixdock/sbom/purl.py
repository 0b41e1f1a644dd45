"""Package URLs (purl), which name packages of every kind alike."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from nixdock.sbom.bill import BasePart, Package, Subject, SystemPackage

__all__ = ["package_purl", "subject_purl", "system_purl"]


def package_purl(package: Package) -> str:
    """Return the package URL of a Nix package: pkg:nix/NAME@VERSION, as other tools write it."""
    return _purl("nix", "", package.name, package.version)


def subject_purl(subject: Subject) -> str | None:
    """Return the package URL of an image, of type oci, if its digest is known."""
    if subject.digest is None:
        return None
    name = subject.name.rpartition("/")[2].lower()
    qualifiers = {
        "arch": subject.architecture or "",
        "repository_url": subject.repository or "",
        "tag": subject.version,
    }
    return _purl("oci", "", name, subject.digest, qualifiers)


def system_purl(package: SystemPackage, base: BasePart) -> str:
    """Return the package URL of a package of the distribution in `base`."""
    distro = "-".join(filter(None, [base.distribution, base.release]))
    qualifiers = {
        "arch": package.architecture,
        "distro": distro,
        "epoch": package.epoch,
        "upstream": package.source,
    }
    return _purl(package.kind, base.distribution, package.name, package.version, qualifiers)


def _purl(
    kind: str, namespace: str, name: str, version: str, qualifiers: Mapping[str, str] | None = None
) -> str:
    """Return a package URL with its qualifiers in order; empty parts are left out."""
    where = f"{_encoded(namespace)}/" if namespace else ""
    at = f"@{_encoded(version)}" if version else ""
    pairs = sorted((qualifiers or {}).items())
    query = "&".join(f"{key}={_encoded(value, '/')}" for key, value in pairs if value)
    return f"pkg:{kind}/{where}{_encoded(name)}{at}" + (f"?{query}" if query else "")


def _encoded(text: str, safe: str = "") -> str:
    # The specification leaves colons as they are.
    return quote(text, safe=f":{safe}")
