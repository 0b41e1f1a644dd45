"""Folding store paths into packages."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from nixdock.nix.closure import PathInfo
from nixdock.nix.store_path import StorePath
from nixdock.sbom.bill import Package
from nixdock.sbom.metadata import parse_metas
from nixdock.sbom.packages import packages_of
from tests.unit.closures import closure_of, node_sets, store_path


def info(name: str, *references: str, salt: str = "", deriver: str | None = None) -> PathInfo:
    drv = None if deriver is None else store_path(deriver)
    paths = tuple(store_path(reference) for reference in references)
    return PathInfo(store_path(name, salt), 1, None, paths, drv)


def packages(
    *infos: PathInfo, unknown: Iterable[StorePath] = (), metas: object = None
) -> list[Package]:
    known = {each.path: each for each in infos}
    return [*packages_of(known, known.keys() - {*unknown}, parse_metas(metas or {}))]


def names(found: Iterable[Package]) -> list[tuple[str, str, list[str]]]:
    return sorted(
        (each.name, each.version, [output.path.name for output in each.outputs]) for each in found
    )


def test_outputs_of_a_deriver_are_one_package() -> None:
    drv = "openssl-3.0.13.drv"
    found = packages(
        info("openssl-3.0.13-dev", "openssl-3.0.13-bin", deriver=drv),
        info("openssl-3.0.13", "glibc-2.39-52", deriver=drv),
        info("openssl-3.0.13-bin", "openssl-3.0.13", deriver=drv),
        info("glibc-2.39-52", deriver="glibc-2.39-52.drv"),
    )
    outputs = ["openssl-3.0.13", "openssl-3.0.13-bin", "openssl-3.0.13-dev"]
    assert names(found) == [("glibc", "2.39-52", ["glibc-2.39-52"]), ("openssl", "3.0.13", outputs)]
    (openssl,) = (each for each in found if each.name == "openssl")
    assert openssl.dependencies == (store_path("glibc-2.39-52"),)


def test_the_name_of_a_derivation_has_no_output() -> None:
    """What looks like an output belongs to the version."""
    drv = "hello-0-unstable-dev.drv"
    found = packages(
        info("hello-0-unstable-dev", deriver=drv), info("hello-0-unstable-dev-man", deriver=drv)
    )
    assert names(found) == [
        ("hello", "0-unstable-dev", ["hello-0-unstable-dev", "hello-0-unstable-dev-man"])
    ]


def test_outputs_are_known_by_their_names_without_derivers() -> None:
    found = packages(
        info("zlib-1.3"), info("zlib-1.3-dev"), info("zlib-1.3-rc"), info("source"), info("x-dev")
    )
    assert names(found) == [
        ("source", "", ["source"]),
        ("x-dev", "", ["x-dev"]),
        ("zlib", "1.3", ["zlib-1.3", "zlib-1.3-dev"]),
        ("zlib", "1.3-rc", ["zlib-1.3-rc"]),
    ]


def test_two_builds_of_a_package_stay_apart() -> None:
    found = packages(info("zlib-1.3"), info("zlib-1.3", salt="x"), info("zlib-1.3-dev"))
    assert [len(each.outputs) for each in found] == [1, 1, 1]


def test_words_in_place_of_a_deriver_are_no_derivers() -> None:
    infos = [
        PathInfo(store_path(name), deriver="unknown-deriver") for name in ("zlib-1.3", "hello-2.12")
    ]
    assert {each.name for each in packages(*infos)} == {"zlib", "hello"}


def test_metadata_name_packages_and_their_outputs() -> None:
    out, lib = info("python3.12-numpy-1.26"), info("python3.12-numpy-1.26-special")
    metas = {
        "numpy": {
            "pname": "numpy",
            "version": "1.26",
            "outputs": {"out": out.path, "special": lib.path},
            "meta": {"description": "Arrays"},
        }
    }
    (package,) = packages(out, lib, metas=metas)
    assert (package.name, package.version, len(package.outputs)) == ("numpy", "1.26", 2)
    assert package.meta.description == "Arrays"


def test_dependencies_are_unknown_if_the_references_of_one_output_are() -> None:
    out, dev = info("zlib-1.3"), info("zlib-1.3-dev", "hello-2.12")
    (_, zlib) = sorted(packages(out, dev, info("hello-2.12")), key=lambda each: each.name)
    assert zlib.dependencies == (store_path("hello-2.12"),)
    (zlib,) = packages(out, dev, unknown=[out.path])
    assert zlib.dependencies is None


@given(node_sets(), st.booleans())
def test_every_store_path_is_in_one_package(
    nodes: dict[str, tuple[int, list[str]]], drv: bool
) -> None:
    closure = closure_of(nodes)
    infos = {
        each.path: PathInfo(
            each.path,
            each.nar_size,
            None,
            each.references,
            store_path(f"{each.path.name[:2]}.drv") if drv else None,
        )
        for each in closure
    }
    found = packages_of(infos, infos.keys(), {})
    assert sorted(each.path for package in found for each in package.outputs) == [*closure.infos]
    owner = {each.path: package.path for package in found for each in package.outputs}
    assert {(package.path, other) for package in found for other in package.dependencies or ()} == {
        (owner[each.path], owner[reference])
        for each in closure
        for reference in each.references
        if owner[each.path] != owner[reference]
    }
