"""Provenance: what is stated of an image, and what is not because nobody knows it."""

from __future__ import annotations

from typing import Any

import pytest

from nixdock.nix.closure import PathInfo
from nixdock.nix.hashes import Hash
from nixdock.nix.store_path import StorePath
from nixdock.provenance.from_spec import flake_material, spec_parameters, store_materials
from nixdock.provenance.statement import Builder, Material, provenance_statement
from nixdock.spec.checks import parse_spec
from nixdock.spec.provenance_spec import ProvenanceSpec

from .statements import statement

DIGEST = f"sha256:{'5' * 64}"
COMMIT = "0123456789abcdef" * 2 + "01234567"
LIBC, APP = (
    StorePath.parse(f"/nix/store/{letter * 32}-{name}")
    for letter, name in (("a", "libc"), ("d", "app-1.2"))
)
DRV = StorePath.parse(f"/nix/store/{'c' * 32}-app-1.2.drv")


def stated(*materials: Material, system: str | None = None, **parameters: Any) -> Any:
    blob = provenance_statement(
        ["x/y:v1", "x/y:latest"],
        DIGEST,
        parameters,
        materials,
        Builder("https://ci.example/1", {"nixdock": "0.1.0"}),
        system=system,
    )
    assert blob.media_type == "application/vnd.in-toto+json"
    return statement(blob.data)


def test_a_statement_is_about_the_digest_of_the_image() -> None:
    document = stated()
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["subject"] == [
        {"name": "x/y:v1", "digest": {"sha256": "5" * 64}},
        {"name": "x/y:latest", "digest": {"sha256": "5" * 64}},
    ]


def test_what_is_not_known_is_not_stated() -> None:
    predicate = stated()["predicate"]
    assert predicate == {
        "buildDefinition": {
            "buildType": "https://nixdock.dev/build-types/image/v1",
            "externalParameters": {"spec": {}},
            "resolvedDependencies": [],
        },
        "runDetails": {"builder": {"id": "https://ci.example/1", "version": {"nixdock": "0.1.0"}}},
    }


def test_a_statement_has_parameters_materials_and_the_system() -> None:
    material = Material(
        "docker.io/library/debian", "docker://debian:12", {"sha256": "6" * 64}, "a/b", {"c": "d"}
    )
    definition = stated(material, system="x86_64-linux", name="x/y")["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"spec": {"name": "x/y"}}
    assert definition["internalParameters"] == {"system": "x86_64-linux"}
    assert definition["resolvedDependencies"] == [
        {
            "name": "docker.io/library/debian",
            "uri": "docker://debian:12",
            "digest": {"sha256": "6" * 64},
            "mediaType": "a/b",
            "annotations": {"c": "d"},
        }
    ]


def test_equal_facts_give_equal_bytes() -> None:
    def data(names: list[str]) -> bytes:
        spec = dict.fromkeys(names, 1)
        return provenance_statement([], DIGEST, spec, [], Builder("a:b", spec_versions(names))).data

    def spec_versions(names: list[str]) -> dict[str, str]:
        return dict.fromkeys(names, "1")

    assert data(["a", "b"]) == data(["b", "a"])


@pytest.mark.parametrize(
    ("revision", "digest", "annotations"),
    [
        (COMMIT, {"gitCommit": COMMIT}, {}),
        ("6" * 64, {"gitCommit": "6" * 64}, {}),
        (f"{COMMIT}-dirty", {}, {"revision": f"{COMMIT}-dirty"}),
        (None, {}, {}),
    ],
)
def test_the_revision_of_a_flake_is_a_digest_if_it_is_a_commit(
    revision: str | None, digest: dict[str, str], annotations: dict[str, str]
) -> None:
    found = flake_material(ProvenanceSpec(flake="github:me/app", revision=revision))
    assert found == Material("flake", "github:me/app", digest, annotations=annotations)
    assert flake_material(ProvenanceSpec(system="x86_64-linux")) is None


def test_store_paths_are_materials_with_what_is_known_of_them() -> None:
    nar = Hash.parse(f"sha256:{'0' * 52}")
    libc, app = store_materials([PathInfo(APP, 5, nar, (LIBC,), DRV), PathInfo(LIBC)])
    assert libc == Material("libc", f"file://{LIBC}")
    assert app == Material(
        "app-1.2", f"file://{APP}", annotations={"narHash": nar.sri, "deriver": str(DRV)}
    )
    stated(libc, app)


def test_parameters_name_no_files_of_this_machine() -> None:
    spec = parse_spec(
        {
            "version": 1,
            "name": "x",
            "closure": {"graph": "/home/me/graph.json"},
            "store": {"root": "/home/me/root"},
            "from_image": {"path": "/home/me/base.tar"},
            "layering": {"previous": "/home/me/old.tar"},
            "provenance": {"flake": "path:/home/me"},
            "contents": ["/home/me/tree", str(APP)],
            "copy_contents": True,
            "config": {"Cmd": ["/bin/app"]},
            "extra_commands": "true",
        },
        "FILE",
    )
    assert spec_parameters(spec) == {
        "name": "x",
        "config": {"Cmd": ["/bin/app"]},
        "contents": [APP],
        "copy_contents": True,
        "extra_commands": "true",
    }
    spec = parse_spec({"version": 1, "name": "x", "top_layer": "/home/me/top"}, "FILE")
    assert spec_parameters(spec) == {"name": "x"}


def test_uris_of_store_paths() -> None:
    """What follows a question mark would be a query; all other characters of names stay."""
    paths = [StorePath(f"/nix/store/{'a' * 32}-{name}") for name in ("Az.0_+-=", "fix.patch?id=1")]
    names = [each.uri for each in store_materials(map(PathInfo, paths))]
    start = f"file:///nix/store/{'a' * 32}"
    assert names == [f"{start}-Az.0_+-=", f"{start}-fix.patch%3Fid=1"]
