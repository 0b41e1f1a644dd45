"""What a package set says of its packages: a file as `nix-env --query --json` writes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from nixdock.errors import InputError
from nixdock.nix.store_path import StorePath
from nixdock.sbom.bill import Meta
from nixdock.sbom.stated_licenses import one_line, stated_licenses
from nixdock.system.input_files import parse_json_file

__all__ = ["PackageMeta", "parse_metas", "read_metas"]

_CVE: Final = re.compile(r"CVE[-_](\d{4})[-_](\d{4,})", re.IGNORECASE | re.ASCII)
_PART: Final = r"(?:[*-]|[*?]*(?:[A-Za-z0-9._-]|\\[^A-Za-z0-9\s])+[*?]*)"
_CPE: Final = re.compile(
    rf"cpe:2\.3:[aho*-](?::{_PART}){{5}}:(?:[*-]|[A-Za-z]{{2,3}}(?:-[A-Za-z0-9]{{2,3}})?)"
    rf"(?::{_PART}){{4}}",
    re.ASCII,
)
_PURL: Final = re.compile(r"pkg:[a-z][a-z0-9.+-]*/[!-~]+", re.ASCII)


class PackageMeta(Struct, frozen=True):
    """A package of a package set; `outputs` has the name of each output by its store path."""

    pname: str
    version: str
    outputs: Mapping[StorePath, str]
    meta: Meta


def read_metas(file: Path) -> dict[StorePath, PackageMeta]:
    """Return the packages in `file` by the store paths of their outputs.

    Raise InputError if the file can't be read or does not have the form that `parse_metas` reads.
    """
    return parse_metas(parse_json_file(file, "the metadata"), str(file))


def parse_metas(document: object, origin: str = "the metadata") -> dict[StorePath, PackageMeta]:
    """Return the packages in a JSON document by the store paths of their outputs.

    The document is an object as `nix-env --query --available --json --meta --out-path` prints: its
    values have `pname`, `version`, `outputs` and `meta`, and may have `patches`, a list of names.
    Raise InputError, with the key at fault, if it is not.
    """
    if not isinstance(document, dict):
        raise InputError(
            f"{origin} is not an object of packages; make it with `nix-env --query --available"
            " --json --meta --out-path` or with the Nix library's packageMeta"
        )
    metas: dict[StorePath, PackageMeta] = {}
    for key, entry in document.items():
        try:
            package = _package(entry)
        except InputError as error:
            raise InputError(f"{origin}: {key}: {error}", key=str(key)) from None
        for path in package.outputs:
            metas.setdefault(path, package)
    return metas


def _package(entry: object) -> PackageMeta:
    if not isinstance(entry, dict) or not isinstance(entry.get("outputs"), dict):
        raise InputError("must be an object with `outputs`, the store path of each output")
    outputs = {StorePath.parse(path): str(name) for name, path in entry["outputs"].items() if path}
    meta = entry.get("meta", {})
    if not isinstance(meta, dict):
        raise InputError("`meta` must be an object")
    patches = entry.get("patches", [])
    if not isinstance(patches, list):
        raise InputError("`patches` must be a list of names")
    return PackageMeta(
        one_line(entry.get("pname")), one_line(entry.get("version")), outputs, _meta(meta, patches)
    )


def _meta(meta: Mapping[str, Any], patches: Iterable[object]) -> Meta:
    identifiers = _mapping(meta.get("identifiers"))
    # nixpkgs names identifiers of a version of their form below it as well.
    first = _mapping(identifiers.get("v1"))
    purls = identifiers.get("purls") or first.get("purls") or ()
    purl = one_line(identifiers.get("purl") or first.get("purl"))
    cpe = one_line(identifiers.get("cpe") or first.get("cpe"))
    listed = (one_line(text) for text in purls) if isinstance(purls, list) else ()
    return Meta(
        description=one_line(meta.get("description")),
        homepage=_first_text(meta.get("homepage")),
        licenses=stated_licenses(meta.get("license")),
        cpe=cpe if _CPE.fullmatch(cpe) else None,
        purls=tuple(dict.fromkeys(text for text in (purl, *listed) if _PURL.fullmatch(text))),
        patched=tuple(sorted(_cves(patches))),
    )


def _cves(patches: Iterable[object]) -> set[str]:
    found = (match for name in patches for match in _CVE.finditer(one_line(name)))
    return {f"CVE-{year}-{number}" for year, number in (match.groups() for match in found)}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first_text(value: object) -> str:
    return one_line(value[0] if isinstance(value, list) and value else value)
