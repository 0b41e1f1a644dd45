"""Preparing the layers of a spec: plans, excluded paths, and the metadata of store paths."""

from __future__ import annotations

import json
import logging
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nixdock import build_image
from nixdock.build.build import prepared_build, resolve_spec
from nixdock.errors import ClosureError, InputError, PlanError, SpecError
from nixdock.layers.pack import pack, pack_all
from nixdock.layers.store import StoreLayer
from nixdock.spec.closure_spec import StorePathSpec
from nixdock.spec.reading import read_spec

LIB, APP, CONFIG = (
    f"/nix/store/{digit * 32}-{name}"
    for digit, name in zip("012", ("lib", "app", "config"), strict=True)
)
HASH = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a spec, over a store of three paths, and returns its file."""
    graph: list[dict[str, Any]] = [
        {"path": LIB, "narSize": 30, "references": [], "narHash": HASH},
        {"path": APP, "narSize": 20, "references": [LIB]},
        {"path": CONFIG, "narSize": 10, "references": [APP]},
    ]
    for entry in graph:
        file = Path(f"{tmp_path}{entry['path']}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(entry["path"])
    (tmp_path / "graph.json").write_text(json.dumps(graph))

    def write_spec(**changes: object) -> Path:
        spec = {
            "version": 1,
            "name": "x",
            "closure": {"graph": "graph.json"},
            "layering": {"strategy": "popularity"},
            "store": {"root": str(tmp_path)},
            **changes,
        }
        file = tmp_path / "spec.json"
        file.write_text(json.dumps({k: v for k, v in spec.items() if v is not None}))
        return file

    return write_spec


def test_the_top_layer_follows_the_store_layers(write: Callable[..., Path]) -> None:
    with prepared_build(read_spec(write())) as build:
        *store, top = build.layers
        paths = [layer.paths for layer in store if isinstance(layer, StoreLayer)]
        assert paths == [(LIB,), (APP,), (CONFIG,)]
        assert top.history.comment == "the image's own files"
        assert [layer.weight for layer in store] == [30, 20, 10]
        image = build.assemble(pack_all(build.layers))
    config = json.loads(image.config.data)
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == 4


def test_excluded_paths_stay_out_with_their_references(write: Callable[..., Path]) -> None:
    file = write(closure={"graph": "graph.json", "exclude": [CONFIG]}, max_layers=2)
    assert resolve_spec(read_spec(file)).spec.store_layers == [[LIB, APP]]


def test_only_the_closure_of_the_roots_is_in_the_image(write: Callable[..., Path]) -> None:
    closure = {"graph": "graph.json", "roots": [APP], "exclude": [APP]}
    assert resolve_spec(read_spec(write(closure=closure))).spec.store_layers == [[LIB]]


def test_a_resolved_spec_gives_the_same_image(write: Callable[..., Path], tmp_path: Path) -> None:
    spec = read_spec(write(max_layers=3))
    resolved = resolve_spec(spec).spec
    assert resolved.closure is None
    assert resolved.store_layers == [[LIB], [APP, CONFIG]]
    assert resolved.store_paths[LIB].nar_hash == HASH
    file = tmp_path / "resolved.json"
    file.write_bytes(msgspec.json.encode(resolved))
    (tmp_path / "graph.json").unlink()
    digests = []
    for each in (resolved, read_spec(file)):
        with prepared_build(each) as build:
            digests.append([layer.digest for layer in pack_all(build.layers)])
            (first, *_) = build.layers
            assert isinstance(first, StoreLayer)
            assert first.key is not None
    assert digests[0] == digests[1]
    assert resolve_spec(resolved).spec == resolved


def test_the_metadata_of_store_paths(write: Callable[..., Path], tmp_path: Path) -> None:
    """The references and the deriver are kept only if a database needs them."""
    graph = [
        {"path": path, "narSize": i, "narHash": HASH, "references": [LIB], "deriver": f"{path}.drv"}
        for i, path in enumerate((LIB, APP))
    ]
    file = write()
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    known = resolve_spec(read_spec(file)).spec.store_paths
    assert known[APP] == StorePathSpec(nar_size=1, nar_hash=HASH)
    known = resolve_spec(read_spec(write(nix_db=True))).spec.store_paths
    assert known[APP] == StorePathSpec(1, HASH, [LIB], f"{APP}.drv")


def test_a_path_may_be_excluded_with_all_its_referrers(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    graph = tmp_path / "graph.json"
    file = write(nix_db=True, closure={"graph": "graph.json", "exclude": [APP, CONFIG]})
    graph.write_text(
        json.dumps([{**entry, "narHash": HASH} for entry in json.loads(graph.read_text())])
    )
    assert resolve_spec(read_spec(file)).spec.store_layers == [[LIB]]


def test_as_many_layers_as_docker_allows(write: Callable[..., Path]) -> None:
    layers = [[f"{LIB}{i}"] for i in range(124)]
    with prepared_build(read_spec(write(closure=None, store_layers=layers))) as build:
        assert len(build.layers) == 125


def test_weights_need_not_be_known(write: Callable[..., Path]) -> None:
    known = {LIB: {"nar_size": 30}}
    spec = read_spec(write(closure=None, store_layers=[[LIB, APP]], store_paths=known))
    with prepared_build(spec) as build:
        assert build.layers[0].weight == 30


def test_no_store_paths_is_no_store_layer(write: Callable[..., Path]) -> None:
    with prepared_build(read_spec(write(closure=None))) as build:
        assert len(build.layers) == 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"max_layers": 1}, PlanError, "max_layers is 1"),
        ({"max_layers": 2, "nix_db": True}, PlanError, "max_layers is 2, but 2 layers on top"),
        (
            {"closure": {"graph": "none.json"}},
            InputError,
            "can't read the closure's graph .*none.json",
        ),
        ({"closure": {"graph": "graph.json", "keys": ["k"]}}, ClosureError, "has no key 'k'"),
        (
            {"closure": {"graph": "graph.json", "exclude": ["/x"]}},
            SpecError,
            r"closure.exclude\[0\]: '/x'",
        ),
        (
            {"closure": {"graph": "graph.json", "roots": [APP, f"{LIB}2"]}},
            SpecError,
            r"closure.roots\[1\]: .*-lib2 is not in the graph .*graph.json",
        ),
        ({"store": {"directory": "/gnu/store"}}, SpecError, "is not in the store /gnu/store"),
        ({"nix_db": True}, ClosureError, "app has no NAR hash"),
        (
            {"nix_db": True, "closure": {"graph": "graph.json", "exclude": [LIB]}},
            SpecError,
            "closure.exclude: .*-app refers to .*-lib, without which a database can't register it",
        ),
        (
            {"closure": None, "store_layers": [[f"{LIB}{i}"] for i in range(125)]},
            PlanError,
            "126 layers, 0 of them from its base image, but Docker takes at most 125",
        ),
        (
            {"closure": None, "store_layers": [[LIB]], "nix_db": True},
            SpecError,
            "nix_db: the references of .*-lib are not known",
        ),
    ],
)
def test_errors(
    write: Callable[..., Path], changes: dict[str, object], error: type[InputError], message: str
) -> None:
    spec = read_spec(write(**changes))
    with pytest.raises(error, match=message), prepared_build(spec):
        pass


def test_undefined_config_keys_are_passed_on_with_a_warning(
    write: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    spec = read_spec(write(config={"Cmd": ["x"], "Tty": True}))
    with caplog.at_level(logging.WARNING), prepared_build(spec) as build:
        assert build.container == {"Cmd": ["x"], "Tty": True}
    assert caplog.messages == ["config.Tty is passed on, but no image specification defines it"]


def test_time_is_source_date_epoch_or_explicit(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    with prepared_build(read_spec(write())) as build:
        assert (build.created, build.mtime) == ("2001-09-09T01:46:40Z", 1000000000)
    with prepared_build(read_spec(write(created="2020-02-02"))) as build:
        assert (build.created, build.mtime) == ("2020-02-02T00:00:00Z", 1000000000)


def test_a_resolved_spec_keeps_its_time(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    resolved = resolve_spec(read_spec(write())).spec
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "5")
    with prepared_build(resolved) as build:
        assert (build.created, build.mtime) == ("2001-09-09T01:46:40Z", 1000000000)


def test_the_database_has_a_layer_of_its_own(write: Callable[..., Path], tmp_path: Path) -> None:
    """It has the store's owner, so that a single user can write to it, and the top layer's time."""
    graph = tmp_path / "graph.json"
    entries = [{**entry, "narHash": HASH} for entry in json.loads(graph.read_text())]
    store = {"root": str(tmp_path), "uid": 1000, "gid": 100, "uname": "u", "gname": "g"}
    file = write(nix_db=True, store=store, source_date_epoch=7)
    graph.write_text(json.dumps(entries))
    with prepared_build(read_spec(file)) as build:
        *_, database = build.layers
        assert database.history.comment == "the Nix database of 3 store paths"
        packed = pack(database, tmp_path / "layer.tar")
    with tarfile.open(tmp_path / "layer.tar") as tar:
        members = {member.name: member for member in tar}
    assert packed.size == (tmp_path / "layer.tar").stat().st_size
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members.values()} == {
        (1000, 100, "u", "g", 7)
    }
    assert {name: member.mode for name, member in members.items() if not member.issym()} == {
        "/nix": 0o755,
        "/nix/var": 0o755,
        "/nix/var/nix": 0o755,
        "/nix/var/nix/db": 0o755,
        "/nix/var/nix/db/db.sqlite": 0o644,
        "/nix/var/nix/db/schema": 0o644,
        "/nix/var/nix/gcroots": 0o755,
        "/nix/var/nix/gcroots/docker": 0o755,
    }
    (link,) = (member for member in members.values() if member.issym())
    assert link.linkname == CONFIG


OTHER = f"/nix/store/{'z' * 32}-other"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"Cmd": [APP]}, None),
        ({"Cmd": ["other"]}, None),
        ({"Entrypoint": [APP], "Cmd": [OTHER]}, None),
        ({"Cmd": OTHER}, f"config.Cmd: the image can't run {OTHER}: {OTHER[11:]} is not in the"),
        ({"Entrypoint": [f"{OTHER}/x"]}, f"config.Entrypoint: the image can't run {OTHER}/x: "),
        ({"Cmd": [f"{APP}/bin/x"]}, f"there is no such file in {APP[11:]}"),
        ({"Cmd": ["/made/file"]}, None),
        ({"Cmd": ["/made/link/anything"]}, None),
        ({"Cmd": ["/bin/sh"]}, "config.Cmd: the image can't run /bin/sh: there is no such file"),
        ({"Cmd": ["/made//./file"]}, None),
        ({"Cmd": [f"/{APP}"]}, None),
        ({"Cmd": [f"/nix/./store//{APP[11:]}"]}, None),
        ({"Cmd": ["/made/../made/file"]}, None),
        ({"Cmd": [f"/nix/store/../store/{APP[11:]}"]}, None),
        ({"Cmd": ["/made/file/"]}, "config.Cmd: the image can't run /made/file/: there is no such"),
        ({"Cmd": ["/made//gone"]}, "config.Cmd: the image can't run /made//gone: there is no such"),
        ({"Cmd": [LIB]}, f"config.Cmd: the image can't run {LIB}: it is not executable"),
        (
            {"Cmd": ["/made/text"]},
            "config.Cmd: the image can't run /made/text: it is not executable",
        ),
        ({"Cmd": ["/made/directory"]}, "it is a directory; write the path of a program in it"),
        ({"Cmd": ["/made/short"]}, None),
    ],
)
def test_a_program_that_is_not_in_the_image_is_a_warning(
    write: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    config: dict[str, object],
    message: str | None,
) -> None:
    Path(f"{tmp_path}{APP}").chmod(0o555)
    script = """
    mkdir -p made/directory; touch made/file made/text; ln -s /elsewhere made/link
    chmod +x made/file; ln -s text made/short
    """
    spec = read_spec(write(config=config, extra_commands=script))
    with caplog.at_level(logging.WARNING), prepared_build(spec):
        pass
    assert len(caplog.messages) == (message is not None)
    assert message is None or message in caplog.messages[0]


def test_a_directory_of_the_store_is_no_program(
    write: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A package is often named in the place of its program."""
    file = Path(f"{tmp_path}{LIB}")
    file.unlink()
    (file / "bin").mkdir(parents=True)
    (file / "bin/text").touch()
    (file / "bin/link").symlink_to("/elsewhere")

    def warnings(**changes: object) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING), prepared_build(read_spec(write(**changes))):
            return caplog.messages[:]

    (message,) = warnings(config={"Cmd": [LIB]})
    assert message == (
        f"config.Cmd: the image can't run {LIB}: it is a directory; write the path of a program in"
        " it"
    )
    (message,) = warnings(config={"Entrypoint": [f"{LIB}/bin/text"]})
    assert message.endswith("/bin/text: it is not executable")
    assert warnings(config={"Cmd": [f"{LIB}/bin/link"]}) == []
    perms = [{"path": f"{LIB}/bin/text", "mode": "0555"}]
    assert warnings(config={"Cmd": [f"{LIB}/bin/text"]}, perms=perms) == []


@pytest.mark.parametrize(
    ("user", "files", "missing"),
    [
        ("", "", []),
        ("0", "", []),
        ("1000:100", "", []),
        # No runtime takes it for 0.
        ("root", "", ["/etc/passwd, so no runtime finds the user root; add"]),
        ("me:us", "", ["/etc/passwd, so no runtime finds the user me;", "/etc/group, so no "]),
        ("1000:us", "etc/passwd", ["/etc/group, so no runtime finds the group us; add the file"]),
        ("me", "etc/passwd", []),
        ("me:us", "etc/passwd etc/group", []),
    ],
)
def test_a_user_without_a_file_of_users_is_a_warning(
    write: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
    user: str,
    files: str,
    missing: list[str],
) -> None:
    script = f"mkdir etc; touch etc/hosts {files}"
    spec = read_spec(write(config={"User": user}, extra_commands=script))
    with caplog.at_level(logging.WARNING), prepared_build(spec):
        pass
    assert len(caplog.messages) == len(missing)
    for message, expected in zip(caplog.messages, missing, strict=True):
        assert message.startswith(f"config.User: the image has no {expected}")


@pytest.mark.parametrize(("text", "warns"), [("", True), ("\n", True), ("[]", False)])
def test_an_empty_file_with_a_graph_is_a_warning(
    write: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    text: str,
    warns: bool,
) -> None:
    """As `nix path-info … > graph.json` leaves it after an error."""
    (tmp_path / "graph.json").write_text(text)
    with caplog.at_level(logging.WARNING), prepared_build(read_spec(write())) as build:
        assert len(build.layers) == 1
    message = f"the closure's graph {tmp_path}/graph.json is empty, so the image has no store paths"
    assert [line.startswith(message) for line in caplog.messages] == [True] * warns


def test_contents_that_are_not_in_the_image_are_a_warning(
    write: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The links dangle, unless the base image or a store that is mounted has the files."""
    tree = f"/nix/store/{'9' * 32}-tree"
    Path(f"{tmp_path}{tree}/share").mkdir(parents=True)
    closure = {"graph": "graph.json"}

    def warnings(**changes: object) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING), prepared_build(read_spec(write(**changes))):
            return caplog.messages[:]

    contents = [f"{tree}/share", f"{tree}/share"]
    assert warnings(contents=contents) == [
        (
            f"contents: {tree}/share is not in the image, so the links to its files lead nowhere;"
            " add it to the closure, or set copy_contents"
        )
    ]
    assert warnings(contents=contents, copy_contents=True) == []
    assert warnings(contents=contents, closure=None) == []
    build_image(read_spec(write(closure=None, store_layers=[[tree]])), tmp_path / "base.tar")
    assert warnings(contents=contents, closure=closure, from_image={"path": "base.tar"}) == []


def test_programs_of_the_base_image_and_of_a_mounted_store(
    write: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build_image(read_spec(write()), tmp_path / "base.tar")
    store_layers = {"closure": None, "store_layers": [[OTHER]], "config": {"Cmd": [APP]}}
    based = read_spec(write(from_image={"path": "base.tar"}, **store_layers))
    mounted = read_spec(write(closure=None, config={"Cmd": [OTHER]}))
    in_base = read_spec(write(from_image={"path": "base.tar"}, config={"Cmd": ["/bin/sh"]}))
    with caplog.at_level(logging.WARNING):
        for spec in (based, mounted, in_base):
            with prepared_build(spec):
                pass
    assert caplog.messages == []
