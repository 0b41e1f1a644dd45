"""Nix packages: store paths, folded so that the outputs of a derivation are one package."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from nixdock.layering.package_keys import split_name
from nixdock.nix.closure import PathInfo
from nixdock.nix.store_path import StorePath
from nixdock.sbom.bill import Meta, Package
from nixdock.sbom.metadata import PackageMeta

__all__ = ["packages_of"]

_DERIVATION: Final = ".drv"
# The names that nixpkgs gives to outputs. Without a deriver, any other word at the end of a name
# may belong to the version.
_OUTPUT: Final = re.compile(
    "bin|data|debug|dev|devdoc|devman|dist|doc|examples|getent|info|infodoc|jre|lib|libgcc|man"
    "|modules|nss|out|py|python|server|static|terminfo|tools|tzdata|utils|wheel"
)
_DEFAULT: Final = "out"

_Key = tuple[str, ...]


def packages_of(
    infos: Mapping[StorePath, PathInfo],
    with_references: Collection[StorePath],
    metas: Mapping[StorePath, PackageMeta],
) -> tuple[Package, ...]:
    """Return the packages of the store paths, in the order of their paths.

    Paths with the same deriver, or of the same entry of `metas`, are one package. Others are one if
    their names differ only in the output. `with_references` are the paths whose references are
    known; references out of `infos` are left out.
    """
    groups = _groups(infos, metas)
    owner = {info.path: group[0].path for group in groups for info in group}
    packages = [
        Package(
            *_name_and_version(group, metas.get(group[0].path)),
            outputs=tuple(group),
            dependencies=_dependencies(group, owner)
            if all(info.path in with_references for info in group)
            else None,
            meta=next((metas[info.path].meta for info in group if info.path in metas), Meta()),
        )
        for group in groups
    ]
    return tuple(sorted(packages, key=lambda package: package.path))


def _groups(
    infos: Mapping[StorePath, PathInfo], metas: Mapping[StorePath, PackageMeta]
) -> list[list[PathInfo]]:
    """Return the outputs of each package, the default one first."""
    found: dict[_Key, list[PathInfo]] = defaultdict(list)
    for path in sorted(infos):
        found[_key(infos[path], metas.get(path))].append(infos[path])
    groups = []
    for key, members in found.items():
        outputs = [_output(info, metas.get(info.path)) for info in members]
        if key[0] == "name" and len(set(outputs)) != len(outputs):
            # Two builds with the same name: nothing says which outputs belong together.
            groups += [[info] for info in members]
            continue
        order = sorted(range(len(members)), key=lambda i: _rank(outputs[i], members[i].path))
        groups.append([members[i] for i in order])
    return groups


def _key(info: PathInfo, meta: PackageMeta | None) -> _Key:
    if _derivation_name(info) is not None:
        return ("deriver", str(info.deriver))
    if meta is not None:
        return ("meta", *sorted(meta.outputs))
    return ("name", info.path.store_dir, *_split(info.path.name)[:2])


def _split(name: str) -> tuple[str, str, str]:
    """Return the package, version and output of a name; only known outputs are outputs."""
    package, version, output = split_name(name)
    if output and not _OUTPUT.fullmatch(output):
        return package, f"{version}-{output}", ""
    return package, version, output


def _output(info: PathInfo, meta: PackageMeta | None) -> str:
    if meta is not None:
        return meta.outputs[info.path]
    if (derivation := _derivation_name(info)) is not None:
        if info.path.name == derivation:
            return _DEFAULT
        return info.path.name.removeprefix(f"{derivation}-")
    return _split(info.path.name)[2] or _DEFAULT


def _derivation_name(info: PathInfo) -> str | None:
    """Return the name of the derivation whose output the path is, if it is known."""
    # Databases have other words where the deriver is not known.
    if info.deriver is None or not info.deriver.endswith(_DERIVATION):
        return None
    return info.deriver.rpartition("/")[2].removesuffix(_DERIVATION)[33:] or None


def _rank(output: str, path: StorePath) -> tuple[bool, str, StorePath]:
    return output != _DEFAULT, output, path


def _name_and_version(group: list[PathInfo], meta: PackageMeta | None) -> tuple[str, str]:
    if meta is not None and meta.pname:
        return meta.pname, meta.version
    derivation = _derivation_name(group[0])
    if derivation is None:
        return _split(group[0].path.name)[:2]
    package, version, rest = split_name(derivation)
    return package, f"{version}-{rest}" if rest else version


def _dependencies(
    group: Iterable[PathInfo], owner: Mapping[StorePath, StorePath]
) -> tuple[StorePath, ...]:
    members = [*group]
    own = members[0].path
    found = {owner[path] for info in members for path in info.references if path in owner}
    return tuple(sorted(found - {own}))
