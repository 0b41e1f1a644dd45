"""SPDX 2.3, as JSON."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any, Final

from nixdock.nix.closure import PathInfo
from nixdock.nix.store_path import StorePath
from nixdock.sbom.bill import BasePart, Bill, License, Package, Subject, SubjectKind, SystemPackage
from nixdock.sbom.purl import package_purl, subject_purl, system_purl
from nixdock.sbom.written import (
    PROGRAM,
    all_of,
    content_uuid,
    license_expression,
    program_version,
    web_address,
)

__all__ = ["spdx_document"]

_DOCUMENT: Final = "SPDXRef-DOCUMENT"
_SUBJECT: Final = "SPDXRef-subject"
_BASE: Final = "SPDXRef-base"
_NO_ASSERTION: Final = "NOASSERTION"
_NONE: Final = "NONE"
_NOT_IN_ID: Final = re.compile(r"[^A-Za-z0-9.-]", re.ASCII)
_HASHES: Final = {"md5": "MD5", "sha1": "SHA1", "sha256": "SHA256", "sha512": "SHA512"}

_Object = dict[str, Any]


def spdx_document(bill: Bill) -> _Object:
    """Return the bill as an SPDX document, a JSON object.

    The namespace follows from the rest of the document.
    """
    subject = bill.subject
    name = "-".join(filter(None, [subject.name, subject.version]))
    elements = [_subject(subject), *map(_package, bill.packages)]
    if bill.base is not None:
        base = bill.base
        elements += [_base(base), *(_system_package(each, base) for each in base.packages)]
    content: _Object = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": name,
        "creationInfo": {
            "created": subject.created,
            "creators": [f"Tool: {PROGRAM}-{program_version()}"],
        },
        "packages": elements,
        "relationships": [*_relationships(bill)],
        "hasExtractedLicensingInfos": _other_licenses(bill),
    }
    # The usual place for the documents of those who have no place of their own.
    unique = f"{_NOT_IN_ID.sub('-', name)}-{content_uuid(content)}"
    content["documentNamespace"] = f"https://spdx.org/spdxdocs/{unique}"
    return _without_empty(content)


def _element(identifier: str, name: str, version: str, **members: Any) -> _Object:
    """Return a package of SPDX; nothing is known of where it is from, or of who made it."""
    return _without_empty(
        {
            "SPDXID": identifier,
            "name": name,
            "versionInfo": version,
            "supplier": _NO_ASSERTION,
            "downloadLocation": _NO_ASSERTION,
            "filesAnalyzed": False,
            "licenseConcluded": _NO_ASSERTION,
            "licenseDeclared": _NO_ASSERTION,
            "copyrightText": _NO_ASSERTION,
            **members,
        }
    ) | {"filesAnalyzed": False}


def _subject(subject: Subject) -> _Object:
    is_image = subject.kind is SubjectKind.IMAGE
    algorithm, _, digest = (subject.digest or "").partition(":")
    purl = subject_purl(subject)
    return _element(
        _SUBJECT,
        subject.name,
        subject.version,
        primaryPackagePurpose="CONTAINER" if is_image else "APPLICATION",
        checksums=[{"algorithm": "SHA256", "checksumValue": digest}]
        if algorithm == "sha256"
        else [],
        externalRefs=[_purl_reference(purl)] if purl else [],
        comment=f"The config of the image is {subject.config_digest}."
        if subject.config_digest
        else "",
    )


def _package(package: Package) -> _Object:
    meta = package.meta
    single = package.outputs[0] if len(package.outputs) == 1 else None
    references = [_purl_reference(package_purl(package)), *map(_purl_reference, meta.purls)]
    if meta.cpe:
        references.append(
            {
                "referenceCategory": "SECURITY",
                "referenceType": "cpe23Type",
                "referenceLocator": meta.cpe,
            }
        )
    references += map(_output_reference, package.outputs)
    patched = ", ".join(meta.patched)
    return _element(
        _identifier(package.path),
        package.name,
        package.version,
        summary=meta.description,
        homepage=web_address(meta.homepage),
        checksums=_checksums(single) if single else [],
        licenseDeclared=_declared(meta.licenses),
        externalRefs=references,
        sourceInfo=f"Patches of the package set mend {patched}." if patched else "",
    )


def _identifier(path: StorePath) -> str:
    return f"SPDXRef-nix-{path.hash_part}-{_unique(path.name, path)}"


def _unique(name: str, *parts: str) -> str:
    """Return `name` as it may be in an identifier, with a digest of all `parts` that it is for.

    Replaced characters could make two names equal.
    """
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return f"{_NOT_IN_ID.sub('-', name)}-{digest}"


def _checksums(info: PathInfo) -> list[_Object]:
    """Return the hash of the NAR, the form in which a store path is hashed."""
    if info.nar_hash is None:
        return []
    algorithm = _HASHES[info.nar_hash.algorithm]
    return [{"algorithm": algorithm, "checksumValue": info.nar_hash.base16}]


def _purl_reference(purl: str) -> _Object:
    return {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": purl,
    }


def _output_reference(info: PathInfo) -> _Object:
    known = [
        f"nar_hash: {info.nar_hash.sri}" if info.nar_hash is not None else "",
        f"nar_size: {info.nar_size}" if info.nar_size else "",
        f"deriver: {info.deriver}" if info.deriver is not None else "",
    ]
    return _without_empty(
        {
            "referenceCategory": "OTHER",
            "referenceType": "nix-store-path",
            "referenceLocator": info.path,
            "comment": ", ".join(filter(None, known)),
        }
    )


def _base(base: BasePart) -> _Object:
    layers = f"Layers: {', '.join(base.diff_ids)}."
    unread = f" Not examined: {base.unread}." if base.unread else ""
    return _element(
        _BASE,
        base.distribution or "base-image",
        base.release,
        summary=base.title,
        primaryPackagePurpose="OPERATING_SYSTEM",
        comment=layers + unread,
    )


def _system_package(package: SystemPackage, base: BasePart) -> _Object:
    licenses = (License(package.license),) if package.license else ()
    return _element(
        _system_identifier(package),
        package.name,
        package.version,
        summary=package.description,
        homepage=web_address(package.homepage),
        licenseDeclared=_declared(licenses),
        externalRefs=[_purl_reference(system_purl(package, base))],
    )


def _system_identifier(package: SystemPackage) -> str:
    parts = [package.kind, package.name, package.epoch, package.version, package.architecture]
    return f"SPDXRef-{package.kind}-{_unique(package.name, *parts)}"


def _declared(licenses: tuple[License, ...]) -> str:
    """Return the expression of licences that all apply."""
    expression = license_expression(licenses)
    if expression is not None:
        return expression
    names = (each.spdx_id or _license_reference(each) for each in licenses)
    return all_of(names) or _NO_ASSERTION


def _license_reference(license_: License) -> str:
    """Return the identifier in this document of a licence that the SPDX License List lacks."""
    digest = hashlib.sha256(license_.name.encode()).hexdigest()[:16]
    word = _NOT_IN_ID.sub("-", license_.name)[:40].strip("-.")
    return f"LicenseRef-{word}-{digest}"


def _other_licenses(bill: Bill) -> list[_Object]:
    licenses = {each for package in bill.packages for each in package.meta.licenses}
    if bill.base is not None:
        licenses |= {License(each.license) for each in bill.base.packages if each.license}
    others = {
        _license_reference(each): _without_empty(
            {
                "licenseId": _license_reference(each),
                "name": each.name,
                "extractedText": each.name,
                "seeAlsos": [web_address(each.url)] if web_address(each.url) else [],
            }
        )
        for each in sorted(licenses, key=lambda each: (each.name, each.url or ""), reverse=True)
        if each.spdx_id is None
    }
    return [others[key] for key in sorted(others)]


def _relationships(bill: Bill) -> Iterator[_Object]:
    yield _relationship(_DOCUMENT, "DESCRIBES", _SUBJECT)
    for package in bill.packages:
        yield _relationship(_SUBJECT, "CONTAINS", _identifier(package.path))
    for package in bill.packages:
        if package.dependencies is None:
            others = [_NO_ASSERTION]
        else:
            others = [*map(_identifier, package.dependencies)] or [_NONE]
        for other in others:
            yield _relationship(_identifier(package.path), "DEPENDS_ON", other)
    if bill.base is not None:
        yield _relationship(_SUBJECT, "CONTAINS", _BASE)
        if bill.base.unread:
            yield _relationship(_BASE, "CONTAINS", _NO_ASSERTION)
        for each in bill.base.packages:
            yield _relationship(_BASE, "CONTAINS", _system_identifier(each))


def _relationship(element: str, kind: str, other: str) -> _Object:
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": other}


def _without_empty(members: _Object) -> _Object:
    return {key: value for key, value in members.items() if value not in (None, "", [], {})}
