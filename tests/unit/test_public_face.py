"""The public interface: its names, when they are loaded, and a call of each function."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import io
import json
import os
import pkgutil
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from msgspec.structs import replace

import nixdock
from nixdock import errors

from .registry.fake_registry import fake_registry

SampleSpec = Callable[..., Path]

FUNCTIONS = [
    "attach_artifact",
    "attach_sbom",
    "attest_image",
    "build_image",
    "build_index",
    "check_diff",
    "check_policy",
    "compare_plans",
    "copy_image",
    "diff_images",
    "explain_path",
    "export_image",
    "generate_key_pair",
    "image_digests",
    "inspect_image",
    "layer_files",
    "list_packages",
    "list_referrers",
    "list_tags",
    "load_image",
    "login_registry",
    "logout_registry",
    "merge_images",
    "pack_top_layer",
    "parse_closure",
    "parse_update",
    "parse_view",
    "plan_document",
    "plan_family",
    "plan_layers",
    "prefetch_image",
    "pull_image",
    "push_image",
    "push_index",
    "query_closure",
    "read_closure",
    "read_previous",
    "read_referrer",
    "read_spec",
    "realise_closure",
    "registration_text",
    "remember_layers",
    "resolve_spec",
    "sarif_json",
    "sbom_json",
    "serve_images",
    "sign_image",
    "spec_json",
    "stream_image",
    "tarsum",
    "verify_attestation",
    "verify_image",
    "verify_signature",
    "view_diff",
    "view_document",
    "view_image",
    "view_images",
    "view_plan",
    "view_update",
    "write_database",
]
TYPES = [
    "Access",
    "Attached",
    "Attaching",
    "Bill",
    "Closure",
    "Comparison",
    "Compression",
    "Confinement",
    "Copied",
    "Credentials",
    "Describing",
    "Diff",
    "Explanation",
    "FileLocation",
    "FileReport",
    "FileView",
    "Finding",
    "Format",
    "Group",
    "Hash",
    "Image",
    "ImageIndex",
    "ImageSpec",
    "ImageView",
    "IndexedImage",
    "Indexing",
    "LayerBlob",
    "LayerPlan",
    "Layering",
    "LayeringOptions",
    "Listening",
    "Loaded",
    "LoadedLayer",
    "PathInfo",
    "Policy",
    "PolicyReport",
    "Prefetched",
    "PreviousPlan",
    "Progress",
    "PushedImage",
    "PushedLayer",
    "Pushing",
    "Referrer",
    "RegistryReference",
    "Remote",
    "Resolution",
    "Serving",
    "SignedImage",
    "StorePath",
    "UpdateView",
    "Verification",
]
ERRORS = [
    "CacheError",
    "ClosureError",
    "ImageError",
    "InputError",
    "LayeringError",
    "MissingPathsError",
    "NixdockError",
    "OutputError",
    "PackError",
    "PlanError",
    "RegistryError",
    "RemoteError",
    "ScriptError",
    "SignatureError",
    "SpecError",
    "StoreError",
    "ToolError",
]


def test_the_names() -> None:
    assert nixdock.__all__ == sorted([*FUNCTIONS, *TYPES, *ERRORS])
    assert nixdock.__all__ == sorted(nixdock.__all__)
    assert dir(nixdock) == nixdock.__all__
    folders = {module.name for module in pkgutil.iter_modules(nixdock.__path__)}
    assert folders.isdisjoint(nixdock.__all__)


def test_every_name_is_loaded_from_where_it_is_defined() -> None:
    for name in nixdock.__all__:
        value = getattr(nixdock, name)
        assert value.__name__ == name
        assert inspect.getdoc(value)
        assert value.__module__ == nixdock._MODULES.get(name, "nixdock.errors")
    with pytest.raises(AttributeError, match="module 'nixdock' has no attribute 'none'"):
        nixdock.none  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.slow
def test_type_checkers_know_names_that_do_not_exist(tmp_path: Path) -> None:
    file = tmp_path / "typo.py"
    file.write_text("import nixdock\nnixdock.read_spec\nnixdock.SpecError\nnixdock.nope\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent", "--config-file=", str(file)],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(errors) == 1, done.stdout + done.stderr
    assert 'Module has no attribute "nope"' in errors[0]


def test_names_for_type_checkers_are_those_that_are_loaded() -> None:
    assert nixdock.__file__
    tree = ast.parse(Path(nixdock.__file__).read_bytes())
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    imported = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module != "typing"
        for alias in node.names
    }
    assert imported == nixdock._MODULES
    assert sorted([*imported, *errors.__all__]) == nixdock.__all__
    assert list(imported) == sorted(imported, key=lambda name: (imported[name] or "", name))
    assert list(nixdock._MODULES) == sorted(nixdock._MODULES)


def test_importing_loads_nothing_heavy() -> None:
    script = (
        "import sys, nixdock;"
        "heavy = {'urllib3', 'waitress', 'networkx', 'msgspec', 'orjson', 'click', 'rich'};"
        "print(*heavy & sys.modules.keys());"
        "print(*sorted(name for name in sys.modules if name.startswith('nixdock')))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "\nnixdock nixdock.errors\n"


def test_every_public_name_of_a_module_exists() -> None:
    for found in pkgutil.walk_packages(nixdock.__path__, "nixdock."):
        # A program, and a library that is none of Python.
        if found.name not in {"nixdock.__main__", "nixdock.native.packer"}:
            module = importlib.import_module(found.name)
            for public in getattr(module, "__all__", ()):
                assert hasattr(module, public), f"{found.name}.{public}"


# Errors.


def test_the_error_tree_is_the_one_in_the_documentation() -> None:
    assert errors.__doc__
    drawn: dict[str, str | None] = {}
    stack: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        if match := re.match(r"([\s│├└─]*)([A-Z]\w*Error)\b", line):
            depth, name = len(match[1]), match[2]
            while stack and stack[-1][0] >= depth:
                stack.pop()
            drawn[name] = stack[-1][1] if stack else None
            stack.append((depth, name))
    actual: dict[str, str | None] = {"NixdockError": None}
    waiting = [errors.NixdockError]
    while waiting:
        parent = waiting.pop()
        below = [child for child in parent.__subclasses__() if not child.__name__.startswith("_")]
        actual |= {child.__name__: parent.__name__ for child in below}
        waiting += below
    assert drawn == actual
    assert set(errors.__all__) == actual.keys()


def test_exit_statuses() -> None:
    assert errors.NixdockError.exit_status == errors.PackError.exit_status == 1
    assert errors.SpecError.exit_status == errors.ClosureError.exit_status == 2


# Each function, once.


@pytest.fixture
def spec(sample_spec: SampleSpec, tmp_path: Path) -> nixdock.ImageSpec:
    return nixdock.read_spec(sample_spec(tmp_path))


@pytest.fixture
def closure(sample_spec: SampleSpec, tmp_path: Path) -> nixdock.Closure:
    sample_spec(tmp_path)
    return nixdock.read_closure(tmp_path / "graph.json")


@pytest.fixture
def image(sample_image: SampleSpec, tmp_path: Path) -> Path:
    return sample_image(tmp_path / "image.tar")


@pytest.fixture
def other_image(sample_image: SampleSpec, tmp_path: Path) -> Path:
    return sample_image(tmp_path / "other.tar", tag="v2", config={})


class Progress(nixdock.Progress):
    """The calls of a `progress` argument."""

    def __init__(self) -> None:
        self.weights: list[list[int]] = []
        self.sizes: dict[int, int] = {}
        self.digests: dict[int, str] = {}

    def start(self, weights: Sequence[int]) -> None:
        self.weights.append([*weights])

    def advance(self, index: int, size: int) -> None:
        self.sizes[index] = size

    def packed(self, index: int, blob: nixdock.LayerBlob) -> None:
        self.digests[index] = blob.digest

    def assert_shows(self, image: nixdock.Image) -> None:
        (weights,) = self.weights
        # Those of store layers are NAR sizes.
        assert weights[:-1] == [1000] * (len(image.layers) - 1)
        assert self.digests == {i: layer.digest for i, layer in enumerate(image.layers)}


def test_a_spec_is_read_and_resolved(spec: nixdock.ImageSpec, tmp_path: Path) -> None:
    assert isinstance(spec, nixdock.ImageSpec)
    resolution = nixdock.resolve_spec(spec)
    assert isinstance(resolution, nixdock.Resolution)
    assert resolution.plan is not None
    assert [[*layer.paths] for layer in resolution.plan.layers] == resolution.spec.store_layers
    (tmp_path / "resolved.json").write_bytes(nixdock.spec_json(resolution.spec))
    again = nixdock.read_spec(str(tmp_path / "resolved.json"))
    assert nixdock.resolve_spec(again).plan is None
    assert nixdock.image_digests(again) == nixdock.image_digests(spec)


def test_an_image_is_built_streamed_and_digested(spec: nixdock.ImageSpec, tmp_path: Path) -> None:
    built, digested, streamed = Progress(), Progress(), Progress()
    image = nixdock.build_image(spec, tmp_path / "image.tar", progress=built)
    assert isinstance(image, nixdock.Image)
    assert nixdock.image_digests(spec, progress=digested) == image
    archive = io.BytesIO()
    plain = nixdock.stream_image(spec, archive.write, progress=streamed)
    assert plain.config == image.config
    assert plain == nixdock.image_digests(spec, form="docker-archive")
    built.assert_shows(image)
    digested.assert_shows(image)
    streamed.assert_shows(plain)
    target = tmp_path / "docker.tar"
    nixdock.build_image(spec, str(target), form="docker-archive")
    assert target.read_bytes() == archive.getvalue()
    compressed = nixdock.build_image(
        spec,
        tmp_path / "layout",
        form=nixdock.Format.OCI_LAYOUT,
        compression=nixdock.Compression.GZIP,
    )
    assert compressed == nixdock.image_digests(spec, compression="gzip")
    with pytest.raises(nixdock.OutputError):
        nixdock.build_image(spec, tmp_path / "none" / "image.tar")


def test_the_top_layer_is_packed(spec: nixdock.ImageSpec, tmp_path: Path) -> None:
    nixdock.pack_top_layer(spec, tmp_path / "top")
    data = (tmp_path / "top" / "layer.tar").read_bytes()
    *_, top_layer = nixdock.image_digests(spec).layers
    assert top_layer.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_an_image_is_inspected_and_verified(image: Path) -> None:
    report = nixdock.inspect_image(image)
    assert isinstance(report, nixdock.FileReport)
    assert [image.tags for image in report.images] == [("x/y:v1",)]
    verification = nixdock.verify_image(str(image))
    assert isinstance(verification, nixdock.Verification)
    assert not verification.problems
    assert verification.layers == 5


def test_reading_an_image_is_watched(image: Path) -> None:
    sizes = [layer.size for layer in nixdock.inspect_image(image).images[0].layers]
    for read in (nixdock.inspect_image, nixdock.verify_image):
        progress = Progress()
        read(image, progress=progress)
        assert progress.weights == [sizes]
        assert progress.sizes == dict(enumerate(sizes))


def test_a_quick_look_reads_no_layer(image: Path) -> None:
    full = nixdock.inspect_image(image).document()
    layers = full["images"][0]["layers"]
    with tarfile.open(image) as tar:
        members = [m for m in tar if m.size in {layer["size"] for layer in layers}]
    with image.open("r+b") as file:
        for member in members:
            file.seek(member.offset_data)
            file.write(b"\1" * member.size)
    progress = Progress()
    quick = nixdock.inspect_image(image, quick=True, progress=progress).document()
    assert progress.weights == []
    for layer in layers:
        layer["store_paths"] = None
    assert quick == full
    with pytest.raises(nixdock.ImageError):
        nixdock.inspect_image(image)


def test_images_are_compared(image: Path, sample_spec: SampleSpec, tmp_path: Path) -> None:
    sample_spec(tmp_path)
    diff = nixdock.diff_images(image, str(image))
    assert isinstance(diff, nixdock.Diff)
    assert diff.transfers.registry.total == 0
    layering = nixdock.Layering("popularity")
    diff = nixdock.diff_images(image, tmp_path / "graph.json", layering=layering)
    assert [layer.fetched for layer in diff.layers] == [False] * 4
    separate = nixdock.diff_images(
        tmp_path / "graph.json",
        tmp_path / "graph.json",
        layering=layering,
        new_layering=nixdock.Layering("auto"),
        max_layers=3,
    )
    assert len(separate.old.layers) == len(separate.new.layers) == 2


def test_a_policy_is_checked(
    spec: nixdock.ImageSpec, closure: nixdock.Closure, image: Path
) -> None:
    policy = nixdock.Policy(denied_paths=("-libc$",))
    for source in (spec, closure, image, str(image)):
        report = nixdock.check_policy(source, policy)
        assert isinstance(report, nixdock.PolicyReport)
        (finding,) = report.findings
        assert isinstance(finding, nixdock.Finding)
        assert finding.path == f"/nix/store/{'a' * 32}-libc"
        (run,) = json.loads(nixdock.sarif_json(report))["runs"]
        assert len(run["results"]) == 1
    with pytest.raises(nixdock.InputError, match="has no rules"):
        nixdock.check_policy(closure, nixdock.Policy())
    with pytest.raises(nixdock.InputError, match="belong together"):
        nixdock.check_policy(spec, nixdock.Policy(max_update=1))
    progress = Progress()
    nixdock.check_policy(image, policy, progress=progress)
    assert [len(weights) for weights in progress.weights] == [5]


def test_an_image_is_signed_and_verified(spec: nixdock.ImageSpec, tmp_path: Path) -> None:
    private, public = tmp_path / "k.key", tmp_path / "k.pub"
    nixdock.generate_key_pair(private, public, b"password")
    layout = nixdock.FileLocation(tmp_path / "layout", nixdock.Format.OCI_LAYOUT)
    image = nixdock.build_image(spec, layout.path, form="oci-layout")
    with pytest.raises(nixdock.SignatureError) as caught:
        nixdock.verify_signature(layout, public)
    assert caught.value.digest == image.manifest.digest
    (signed,) = nixdock.sign_image(layout, private, password=lambda: b"password")
    assert isinstance(signed, nixdock.SignedImage)
    assert signed == replace(nixdock.verify_signature(layout, public), added=("bundle",))
    assert signed.digest == image.manifest.digest
    statement = tmp_path / "predicate.json"
    statement.write_text("{}")
    nixdock.attest_image(layout, private, statement, "spdx", password=b"password")
    (found,) = nixdock.verify_attestation(layout, public, "spdx")
    assert json.loads(found)["predicate"] == {}


def test_an_image_is_exported_and_summed(image: Path, tmp_path: Path) -> None:
    root = io.BytesIO()
    nixdock.export_image(image, root.write, mtime=7, name="x/y", tag="v1")
    root.seek(0)
    with tarfile.open(fileobj=root) as tar:
        assert {member.mtime for member in tar} == {7}
        assert f"./nix/store/{'d' * 32}-app/bin/app" in tar.getnames()
    root.seek(0)
    assert re.fullmatch(r"tarsum\.v1\+sha256:[0-9a-f]{64}", nixdock.tarsum(root))
    root.seek(0)
    text = nixdock.tarsum(root, version="v0", algorithm="sha512", names=False)
    assert re.fullmatch(r"tarsum\+sha512:[0-9a-f]{128}", text)
    with pytest.raises(nixdock.ImageError, match=r"^image\.txt"):
        nixdock.tarsum(io.BytesIO(b"text" * 300), origin="image.txt")
    with pytest.raises(nixdock.InputError):
        nixdock.export_image(image, root.write, name="other")


@pytest.mark.parametrize(("compression", "mode"), [("none", "r:"), ("gzip", "r:gz"), (None, "r:")])
def test_images_are_merged(
    image: Path, other_image: Path, compression: str | None, mode: Literal["r:", "r:gz"]
) -> None:
    merged = io.BytesIO()
    nixdock.merge_images([image, other_image], merged.write, compression=compression, mtime=7)
    merged.seek(0)
    with tarfile.open(fileobj=merged, mode=mode) as tar:
        assert {member.mtime for member in tar} == {7}
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        assert [entry["RepoTags"] for entry in json.load(manifest)] == [["x/y:v1"], ["x/y:v2"]]


def test_a_closure_is_read_and_registered(closure: nixdock.Closure, tmp_path: Path) -> None:
    assert isinstance(closure, nixdock.Closure)
    data = (tmp_path / "graph.json").read_bytes()
    assert nixdock.parse_closure(data).infos == closure.infos
    attrs = json.dumps({"exportReferencesGraph": {}, "key": json.loads(data), "other": []})
    assert nixdock.parse_closure(attrs.encode(), ["key"]).infos == closure.infos
    with pytest.raises(nixdock.ClosureError, match=r"^the file: "):
        nixdock.parse_closure(b"[1]", origin="the file")
    text = nixdock.registration_text(closure)
    assert nixdock.parse_closure(text).infos.keys() == closure.infos.keys()
    assert all(isinstance(info, nixdock.PathInfo) for info in closure)


def test_a_database_is_written(
    closure: nixdock.Closure, image: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = nixdock.StorePath.parse(f"/nix/store/{'d' * 32}-app")
    nixdock.write_database(
        closure, tmp_path / "database", gc_roots=[app], base_images=[image], registration_time=7
    )
    directory = tmp_path / "database/nix/var/nix"
    assert sorted(file.name for file in (directory / "db").iterdir()) == ["db.sqlite", "schema"]
    assert [link.name for link in (directory / "gcroots/docker").iterdir()] == [app.base_name]
    assert not caplog.records
    with pytest.raises(nixdock.OutputError, match="already exists"):
        nixdock.write_database(closure, tmp_path / "database")


def test_a_base_image_of_a_database_is_a_single_image(
    closure: nixdock.Closure, image: Path, other_image: Path, tmp_path: Path
) -> None:
    with (tmp_path / "both.tar").open("wb") as file:
        nixdock.merge_images([image, other_image], file.write)
    with pytest.raises(nixdock.InputError, match="contains 2 images") as caught:
        nixdock.write_database(closure, tmp_path / "db", base_images=[tmp_path / "both.tar"])
    assert caught.value.path == str(tmp_path / "both.tar")


def test_layers_are_planned_compared_and_explained(
    closure: nixdock.Closure, tmp_path: Path
) -> None:
    (libc, *_), (app, *_) = sorted(closure.infos), closure.roots
    layering = nixdock.Layering("popularity")
    plan = nixdock.plan_layers(closure, layering=layering, max_layers=3)
    assert isinstance(plan, nixdock.LayerPlan)
    assert len(plan.layers) == 2
    explanation = nixdock.explain_path(closure, libc, layering=layering, max_layers=3)
    assert isinstance(explanation, nixdock.Explanation)
    assert (explanation.layer, explanation.layers) == (1, 2)
    comparison = nixdock.compare_plans(
        closure, {"a": plan, "b": nixdock.plan_layers(closure)}, volatile=[app]
    )
    assert isinstance(comparison, nixdock.Comparison)
    assert (list(comparison.plans), comparison.app) == (["a", "b"], (app,))
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(nixdock.plan_document(plan, "popularity")))
    previous = nixdock.read_previous(file)
    assert isinstance(previous, nixdock.PreviousPlan)
    assert previous.layers == tuple(layer.paths for layer in plan.layers)
    continued = nixdock.Layering("stable", nixdock.LayeringOptions(previous=previous))
    assert nixdock.plan_layers(closure, layering=continued, max_layers=3).layers == plan.layers
    grouped = nixdock.Layering(
        "explicit", nixdock.LayeringOptions(groups=(nixdock.Group(paths=(libc, app)),))
    )
    assert {libc, app} in [
        set(layer.paths) for layer in nixdock.plan_layers(closure, layering=grouped).layers
    ]
    with pytest.raises(nixdock.PlanError):
        nixdock.plan_layers(closure, max_layers=1)


def test_a_family_is_planned(closure: nixdock.Closure) -> None:
    closures = {"one": closure, "two": closure.without(closure.roots)}
    limits: list[Any] = [3, {"one": 3, "two": 2}]
    for max_layers in limits:
        plans = nixdock.plan_family(closures, max_layers=max_layers, volatile=closure.roots)
        assert list(plans) == ["one", "two"]
        assert len(plans["one"].layers) == 2
    assert len(plans["two"].layers) == 1


def test_an_image_is_prefetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With programs that answer like skopeo and nix-store."""
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{"schemaVersion": 2, "config": {}, "layers": []}')
    digest = f"sha256:{hashlib.sha256(manifest.read_bytes()).hexdigest()}"
    programs = {
        "skopeo": f"""
            for last; do :; done
            case " $* " in
              *" inspect "*) cat {manifest} ;;
              *" manifest-digest "*) printf %s {digest} ;;
              *" copy "*) file=${{last#docker-archive:}}; printf image >"${{file%%:*}}" ;;
            esac
        """,
        "nix-store": "echo /nix/store/image",
    }
    for name, script in programs.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    prefetched = nixdock.prefetch_image(nixdock.Remote("debian", tag="12"), final_tag="mine")
    assert isinstance(prefetched, nixdock.Prefetched)
    assert (prefetched.digest, prefetched.path) == (digest, "/nix/store/image")
    assert (prefetched.final_name, prefetched.final_tag) == ("debian", "mine")
    hashed = nixdock.Hash("sha256", hashlib.sha256(b"image").digest())
    assert prefetched.hash == hashed


def test_credentials_are_stored_checked_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    file = nixdock.login_registry("ghcr.io/me", "user", "pass", check=False)
    assert list(json.loads(file.read_text())["auths"]) == ["ghcr.io/me"]
    with fake_registry() as fake:
        fake.accounts.kind = "basic"
        fake.accounts.passwords["user"] = "pass"
        with pytest.raises(nixdock.RegistryError) as caught:
            nixdock.login_registry(fake.host, "user", "other", access=nixdock.Access())
        assert caught.value.status == 401
        nixdock.login_registry(fake.host, "user", "pass")
        assert list(json.loads(file.read_text())["auths"]) == ["ghcr.io/me", fake.host]
    assert nixdock.logout_registry("ghcr.io/me") == nixdock.logout_registry(None) == file
    assert json.loads(file.read_text()) == {"auths": {}}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda spec: nixdock.build_image(spec, "x", form="gip"),
            "there is no format 'gip'; choose from archive, docker-archive, oci-archive, oci-",
        ),
        (
            lambda spec: nixdock.build_image(spec, "x", confinement="none"),
            "there is no confinement 'none'; choose from required, preferred, nix-build",
        ),
        (lambda _: nixdock.tarsum(io.BytesIO(), version="v9"), "there is no version 'v9' of TarS"),
        (
            lambda spec: nixdock.push_image(spec, "localhost:1/x"),
            "destinations is 'localhost:1/x', but should be a list, such as ['localhost:1/x']",
        ),
        (lambda spec: nixdock.push_image(spec, ["localhost:1/x"], reuse="y"), "reuse is 'y', but"),
        (lambda spec: nixdock.image_digests(spec, reuse="y"), "reuse is 'y', but"),
        (lambda spec: nixdock.build_index("y", "x"), "images is 'y', but"),
        (lambda spec: nixdock.push_index([spec], "y"), "destinations is 'y', but"),
        (lambda _: nixdock.merge_images("y.tar", print), "paths is 'y.tar', but"),
        (lambda _: nixdock.query_closure(f"/nix/store/{'0' * 32}-x"), "roots is '/nix/store/"),
        (lambda _: nixdock.query_closure([], stores="https://x"), "stores is 'https://x', but"),
        (lambda _: nixdock.parse_closure(b"{}", "key"), "keys is 'key', but"),
        (lambda spec: nixdock.load_image(spec, names="x:y"), "names is 'x:y', but"),
    ],
)
def test_values_that_no_type_checker_has_seen(
    tmp_path: Path, sample_spec: SampleSpec, call: Callable[[Any], object], message: str
) -> None:
    spec = nixdock.read_spec(sample_spec(tmp_path))
    with pytest.raises(nixdock.InputError) as error:
        call(spec)
    assert str(error.value).startswith(message)
