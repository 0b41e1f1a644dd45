"""Views of images, specs, graphs and updates, made from real files: all of them agree."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

import nixdock
from nixdock import ImageView, InputError, Policy
from nixdock.face.viewing import view_image, view_images, view_plan, view_update
from nixdock.view import LayerKind, PackageStatus, ViewKind, parse_view, view_document
from nixdock.view.order import sorted_layers, sorted_paths
from tests.unit.several_platforms import with_platforms

SampleSpec = Callable[..., Path]
APP = f"/nix/store/{'d' * 32}-app"
LIBC = f"/nix/store/{'a' * 32}-libc"


@pytest.fixture
def build(tmp_path: Path, sample_spec: SampleSpec) -> Callable[..., Path]:
    def run(name: str, form: str = "archive", **changes: object) -> Path:
        spec = nixdock.read_spec(sample_spec(tmp_path, **changes))
        nixdock.build_image(spec, tmp_path / name, form=form)
        return tmp_path / name

    return run


def facts(view: ImageView) -> list[tuple[object, ...]]:
    """Return what must be the same, wherever an image is viewed."""
    return [
        (
            layer.number,
            layer.kind,
            layer.title,
            layer.digest,
            layer.size,
            layer.changed_by,
            layer.has_app,
            [(p.path, p.references, p.is_app) for p in layer.paths],
        )
        for layer in view.layers
    ]


def test_an_image_and_its_spec_agree(build: Callable[..., Path], tmp_path: Path) -> None:
    image = build("image.tar", config={"Cmd": [f"{APP}/bin/app"]})
    graph = nixdock.read_closure(tmp_path / "graph.json")
    of_image = view_image(image, graph=graph)
    of_spec = view_image(tmp_path / "spec.json")
    assert of_image.references_from == "the reference graph"
    assert of_spec.references_from == "the spec"
    assert facts(of_image) == facts(of_spec)
    assert (of_image.size, of_image.digest) == (of_spec.size, of_spec.digest)
    assert (of_image.kind, of_spec.kind) == (ViewKind.IMAGE, ViewKind.SPEC)
    assert of_image.size == sum(blob.stat().st_size for blob in blobs(build, tmp_path))
    # The files are those that are packed.
    files = view_image(tmp_path / "spec.json", with_files=True)
    assert facts(files) == facts(of_spec)
    with_files = view_image(image, with_files=True, graph=graph)
    assert [layer.files for layer in files.layers] == [layer.files for layer in with_files.layers]
    assert [layer.tar_size for layer in files.layers] == [
        layer.tar_size for layer in with_files.layers
    ]
    assert parse_view(json.loads(json.dumps(view_document(files)))) == files


def blobs(build: Callable[..., Path], directory: Path) -> list[Path]:
    """Return the blobs of the same image as a layout."""
    layout = build("layout", "oci-layout", config={"Cmd": [f"{APP}/bin/app"]})
    return [*(directory / layout / "blobs/sha256").iterdir()]


def test_a_plan_and_its_image_agree(build: Callable[..., Path], tmp_path: Path) -> None:
    image = build("image.tar", config={"Cmd": [f"{APP}/bin/app"]})
    closure = nixdock.read_closure(tmp_path / "graph.json")
    layering = nixdock.Layering("popularity")
    plan = view_plan(closure, nixdock.plan_layers(closure, layering=layering))
    of_image = view_image(image, graph=closure)
    planned = [(x.title, x.changed_by, [p.path for p in x.paths]) for x in plan.layers]
    stored = [(x.title, x.changed_by, [p.path for p in x.paths]) for x in of_image.layers]
    assert planned == stored[:-1]
    assert of_image.layers[-1].kind is LayerKind.OWN_FILES
    assert view_image(tmp_path / "graph.json").kind is ViewKind.GRAPH


def test_the_files_of_an_image_tell_its_references(build: Callable[..., Path]) -> None:
    view = view_image(build("image.tar", contents=[APP]))
    assert view.references_from == "the files in its layers"
    references = {path.path: path.references for path in view.paths()}
    link = f"/nix/store/{'c' * 32}-link"
    assert {path: found for path, found in references.items() if found} == {link: (LIBC,)}
    # The command is /bin/app, a link into the store path.
    assert view.app == (APP,)
    assert [layer.title for layer in view.layers if layer.has_app] == ["app"]
    # The NARs are those of what is in the layers.
    sizes = {path.path: path.size for path in view.paths()}
    assert sizes[f"/nix/store/{'b' * 32}-script"] == 160


def test_what_is_not_known_is_said(build: Callable[..., Path]) -> None:
    view = view_image(build("image.tar"), quick=True)
    assert view.references_from is None
    assert not view.has_references
    with pytest.raises(InputError, match="added sizes are not known"):
        sorted_paths(view, "added")


def test_the_database_in_an_image_states_references(build: Callable[..., Path]) -> None:
    view = view_image(build("image.tar", nix_db=True))
    assert view.references_from == "the Nix database in the image"
    # It states more than the files tell.
    assert next(p for p in view.paths() if p.path == APP).references is not None
    assert LIBC in (next(p for p in view.paths() if p.path == APP).references or ())
    assert {path.closure_size is None for path in view.paths()} == {False}


def test_a_bad_database_states_nothing(
    build: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    script = "mkdir -p nix/var/nix/db && echo nonsense > nix/var/nix/db/db.sqlite"
    with caplog.at_level(logging.WARNING):
        view = view_image(build("image.tar", extra_commands=script))
    assert view.references_from == "the files in its layers"
    assert "the Nix database says nothing about references: " in caplog.text


def test_several_images(build: Callable[..., Path], tmp_path: Path) -> None:
    images = [build(arch, "oci-layout", architecture=arch) for arch in ("arm64", "amd64")]
    several, digests = with_platforms(images, tmp_path / "several")
    assert view_image(several).digest == digests[1]
    assert view_image(several, platform="linux/arm64").digest == digests[0]
    report, views = view_images(several)
    assert [view.digest for view in views] == digests
    assert [image.digest for image in report.images] == digests
    assert [view.platform for view in views] == ["linux/arm64", "linux/amd64"]


def test_a_quick_view_reads_no_layer(build: Callable[..., Path]) -> None:
    image = build("image.tar")
    quick, whole = view_image(image, quick=True), view_image(image)
    assert quick.size == whole.size
    assert [layer.kind for layer in quick.layers] == [layer.kind for layer in whole.layers]
    assert not any(quick.paths())


def test_an_update_of_an_image_to_a_spec(build: Callable[..., Path], tmp_path: Path) -> None:
    old = build("old.tar", config={"Cmd": [f"{APP}/bin/app"]})
    new = tmp_path / "spec.json"
    spec = json.loads(new.read_text())
    new.write_text(json.dumps(spec | {"extra_commands": "echo > new"}))
    update = view_update(old, new)
    assert update.registry.layers == 1
    assert [layer.number for layer in update.new.layers if layer.fetched] == [5]
    assert update.packages == ()
    assert update.needless == ()
    assert update.old.size == view_image(old).size
    assert update.new.references_from == "the spec"
    bare = tmp_path / "bare.json"
    closure = {"graph": "graph.json", "exclude": [APP]}
    bare.write_text(json.dumps(spec | {"closure": closure, "contents": [], "config": {}}))
    (change,) = view_update(old, bare).packages
    assert (change.status, change.package, change.old) == (PackageStatus.REMOVED, "app", APP)
    assert change.size_change == -856


def test_a_comparison_can_be_sent_to_another_process(
    build: Callable[..., Path], tmp_path: Path
) -> None:
    image = build("image.tar")
    for side in (tmp_path / "spec.json", tmp_path / "graph.json", image):
        diff = nixdock.diff_images(image, side)
        sent = pickle.loads(pickle.dumps(diff))
        assert sent == diff
        assert nixdock.view_diff(sent) == nixdock.view_diff(diff)


def test_orders() -> None:
    view = view_image(nixdock.parse_closure(GRAPH))
    assert [layer.title for layer in sorted_layers(view, "size")] == ["c", "a", "b"]
    assert [layer.title for layer in sorted_layers(view, "name")] == ["a", "b", "c"]
    assert [path.name for path in sorted_paths(view, "size")] == ["c", "a", "b"]
    assert [path.name for path in sorted_paths(view, "added")] == ["a", "c", "b"]
    with pytest.raises(InputError, match="only store paths have an added size"):
        sorted_layers(view, "added")


GRAPH = json.dumps(
    [
        {"path": f"/nix/store/{n * 32}-{n}", "narSize": size, "references": refs}
        for n, size, refs in (
            ("a", 50, [f"/nix/store/{'c' * 32}-c"]),
            ("b", 10, []),
            ("c", 100, []),
        )
    ]
).encode()


@pytest.mark.parametrize(
    "policy",
    [
        Policy(max_size=1),
        Policy(max_layer=300),
        Policy(max_layers=2),
        Policy(max_update=10),
        Policy(max_size=1 << 40, max_layer=1 << 40, max_update=1 << 40),
        Policy(max_size=3_000, max_layer=700, max_layers=5, max_update=100),
    ],
)
def test_diff_and_check_share_their_budgets(build: Callable[..., Path], policy: Policy) -> None:
    old, new = build("old.tar"), build("new.tar", extra_commands="echo > new")
    against = None if policy.max_update is None else old
    checked = nixdock.check_policy(new, policy, against=against)
    compared = nixdock.check_diff(nixdock.diff_images(old, new), policy)
    assert compared == replace(checked, origin=compared.origin)


def test_a_comparison_checks_sizes_alone(build: Callable[..., Path], tmp_path: Path) -> None:
    image = build("image.tar")
    diff = nixdock.diff_images(image, image)
    with pytest.raises(InputError, match="deny-path can't be checked by a comparison"):
        nixdock.check_diff(diff, Policy(denied_paths=("x",)))
    graph = nixdock.diff_images(image, tmp_path / "graph.json")
    with pytest.raises(InputError, match=r"a graph has no blobs, so max-size can't be checked"):
        nixdock.check_diff(graph, Policy(max_size=1))
    # The graph is that of the image, so nothing is transferred.
    assert nixdock.check_diff(graph, Policy(max_update=0)).passed
    back = nixdock.diff_images(tmp_path / "graph.json", small_graph(tmp_path))
    (finding,) = nixdock.check_diff(back, Policy(max_update=0)).findings
    assert finding.measured == 5


def small_graph(directory: Path) -> Path:
    """Write the graph of a store path that the sample does not have."""
    path = f"/nix/store/{'f' * 32}-x"
    file = directory / "small.json"
    file.write_text(json.dumps([{"path": path, "narSize": 5, "references": []}]))
    return file
