"""CycloneDX 1.6, as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from nixdock.nix.closure import PathInfo
from nixdock.sbom.bill import (
    BasePart,
    Bill,
    License,
    Meta,
    Package,
    Subject,
    SubjectKind,
    SystemPackage,
)
from nixdock.sbom.purl import package_purl, subject_purl, system_purl
from nixdock.sbom.written import (
    PROGRAM,
    content_uuid,
    license_expression,
    program_version,
    web_address,
)

__all__ = ["cyclonedx_document"]

_SUBJECT: Final = "subject"
_BASE: Final = "base"
_HASHES: Final = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha512": "SHA-512"}

_Object = dict[str, Any]


def cyclonedx_document(bill: Bill) -> _Object:
    """Return the bill as a CycloneDX document, a JSON object.

    The serial number follows from the rest of the document.
    """
    packages = {package.path: package for package in bill.packages}
    components = [_package(package) for package in packages.values()]
    if bill.base is not None:
        components.append(_base(bill.base))
    content: _Object = {
        "metadata": {
            "timestamp": bill.subject.created,
            "tools": {
                "components": [
                    {"type": "application", "name": PROGRAM, "version": program_version()}
                ]
            },
            "component": _subject(bill.subject),
        },
        "components": components,
        "dependencies": _dependencies(bill),
        "compositions": _compositions(bill),
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{content_uuid(content)}",
        "version": 1,
        **content,
    }


def _subject(subject: Subject) -> _Object:
    is_image = subject.kind is SubjectKind.IMAGE
    digest = (subject.digest or "").partition(":")
    properties = [("nixdock:config_digest", subject.config_digest or "")] if is_image else []
    return _without_empty(
        {
            "type": "container" if is_image else "application",
            "bom-ref": _SUBJECT,
            "name": subject.name,
            "version": subject.version,
            "hashes": [{"alg": "SHA-256", "content": digest[2]}] if digest[0] == "sha256" else [],
            "purl": subject_purl(subject),
            "properties": _properties(properties),
        }
    )


def _package(package: Package) -> _Object:
    """Return the component of a package; several outputs are components in it."""
    meta = package.meta
    single = package.outputs[0] if len(package.outputs) == 1 else None
    return _without_empty(
        {
            "type": "library",
            "bom-ref": package.path,
            "name": package.name,
            "version": package.version,
            "description": meta.description,
            "hashes": _hashes(single) if single else [],
            "licenses": _licenses(meta.licenses),
            "cpe": meta.cpe,
            "purl": package_purl(package),
            "externalReferences": _homepage(meta.homepage),
            "components": []
            if single
            else [_output(info, package.path) for info in package.outputs],
            "pedigree": _pedigree(package),
            "properties": _properties(_nix_properties(single)) if single else [],
        }
    )


def _output(info: PathInfo, package: str) -> _Object:
    # The package has the reference that is the path of its first output.
    reference = f"{info.path}#output" if info.path == package else info.path
    return _without_empty(
        {
            "type": "file",
            "bom-ref": reference,
            "name": info.path.base_name,
            "hashes": _hashes(info),
            "properties": _properties(_nix_properties(info)),
        }
    )


def _hashes(info: PathInfo) -> list[_Object]:
    """Return the hash of the NAR, the form in which a store path is hashed."""
    if info.nar_hash is None:
        return []
    return [{"alg": _HASHES[info.nar_hash.algorithm], "content": info.nar_hash.base16}]


def _nix_properties(info: PathInfo) -> Iterator[tuple[str, str]]:
    """Yield the properties of a store path, with the names that the Nixpkgs manual defines."""
    yield "nix:store_path", info.path
    described = info.nar_hash is not None or info.nar_size or info.deriver is not None
    if described:
        yield "nix:narinfo:store_path", info.path
    if info.nar_hash is not None:
        yield "nix:narinfo:nar_hash", info.nar_hash.sri
    if info.nar_size:
        yield "nix:narinfo:nar_size", str(info.nar_size)
    if info.deriver is not None:
        yield "nix:narinfo:deriver", info.deriver
    if info.references:
        yield "nix:narinfo:references", " ".join(info.references)


def _pedigree(package: Package) -> _Object:
    meta = package.meta
    return _without_empty(
        {
            "ancestors": [
                _without_empty(
                    {
                        "type": "library",
                        "name": package.name,
                        "version": package.version,
                        "purl": purl,
                    }
                )
                for purl in meta.purls
            ],
            "patches": _patches(meta),
        }
    )


def _patches(meta: Meta) -> list[_Object]:
    return [
        {"type": "unofficial", "resolves": [{"type": "security", "id": cve}]}
        for cve in meta.patched
    ]


def _licenses(licenses: tuple[License, ...]) -> list[_Object]:
    expression = license_expression(licenses)
    if expression is not None:
        return [{"expression": expression, "acknowledgement": "declared"}]
    # A document has either one expression or a list.
    return [
        {
            "license": _without_empty(
                {
                    "name": each.text,
                    "url": web_address(each.url),
                    "acknowledgement": "declared",
                }
            )
        }
        for each in licenses
    ]


def _base(base: BasePart) -> _Object:
    properties = [("nixdock:diff_id", diff_id) for diff_id in base.diff_ids]
    if base.unread:
        properties.append(("nixdock:not_examined", base.unread))
    return _without_empty(
        {
            "type": "operating-system",
            "bom-ref": _BASE,
            "name": base.distribution or "base-image",
            "version": base.release,
            "description": base.title or "The layers that nixdock did not make",
            "components": [_system_package(package, base) for package in base.packages],
            "properties": _properties(properties),
        }
    )


def _system_package(package: SystemPackage, base: BasePart) -> _Object:
    purl = system_purl(package, base)
    return _without_empty(
        {
            "type": "library",
            "bom-ref": purl,
            "name": package.name,
            "version": package.version,
            "description": package.description,
            "licenses": _licenses((License(package.license),)) if package.license else [],
            "purl": purl,
            "externalReferences": _homepage(package.homepage),
        }
    )


def _homepage(url: str) -> list[_Object]:
    return [{"type": "website", "url": web_address(url)}] if web_address(url) else []


def _dependencies(bill: Bill) -> list[_Object]:
    tops: list[str] = [package.path for package in bill.top_packages()]
    if bill.base is not None:
        tops.append(_BASE)
    return [
        {"ref": _SUBJECT, "dependsOn": tops},
        *(
            {"ref": package.path, "dependsOn": list(package.dependencies)}
            for package in bill.packages
            if package.dependencies is not None
        ),
    ]


def _compositions(bill: Bill) -> list[_Object]:
    """Say what is complete: the store paths are, and an image has other files beside them."""
    is_image = bill.subject.kind is SubjectKind.IMAGE
    known = [package.path for package in bill.packages if package.dependencies is not None]
    unknown = [package.path for package in bill.packages if package.dependencies is None]
    is_unknown = bill.base is not None and bill.base.unread and not bill.base.packages
    base = "unknown" if is_unknown else "incomplete"
    entries = [
        ("incomplete" if is_image else "complete", "assemblies", [_SUBJECT]),
        (base, "assemblies", [_BASE] if bill.base is not None else []),
        ("complete", "dependencies", known),
        ("unknown", "dependencies", unknown),
    ]
    return [{"aggregate": how, kind: members} for how, kind, members in entries if members]


def _properties(pairs: Iterable[tuple[str, str]]) -> list[_Object]:
    return [{"name": name, "value": value} for name, value in pairs if value]


def _without_empty(members: _Object) -> _Object:
    return {key: value for key, value in members.items() if value not in (None, "", [], {})}
