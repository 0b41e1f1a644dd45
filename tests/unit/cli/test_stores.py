"""Images whose store paths are in a binary cache alone are those of the local store."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nixdock.nix.store_path import StorePath
from tests.unit.cli.cached_images import (
    cache,
    closure,
    local_spec,
    nixdock,
    registry,
    remote_spec,
    spec_file,
)
from tests.unit.cli.program import environment, run
from tests.unit.nix.nar_files import File, Link
from tests.unit.registry.fake_registry import FakeRegistry, fake_registry
from tests.unit.stores.fake_cache import FakeCache, fake_cache
from tests.unit.stores.sample_cache import APP, KEY, LIBC, LINK, SCRIPT, TREES, Sample, sample

__all__ = ["cache", "closure", "registry"]

APP_2 = StorePath.parse(f"/nix/store/{'f' * 32}-app")
TOOL = StorePath.parse(f"/nix/store/{'g' * 32}-tool")


IMAGES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"single_layer": True}, []),
    ({"layering": {"strategy": "popularity"}, "max_layers": 3}, ["--format", "oci-archive"]),
    ({"extra_commands": "mkdir -m 1777 tmp"}, ["--format", "docker-archive"]),
    ({"extra_commands": f"cat etc/app.conf {LIBC}/lib/libc.so > here"}, []),
    ({"copy_contents": True}, []),
    ({"copy_contents": True, "contents": [SCRIPT, f"{APP}/bin", LINK]}, []),
    ({"contents": [SCRIPT, f"{LIBC}/lib"]}, []),
    ({"contents": [APP, LIBC], "nix_db": True}, ["--compression", "none"]),
    ({"perms": [{"path": f"{APP}/bin/app", "mode": "4755"}]}, []),
    ({"perms": [{"regex": ".*/share/.*", "uid": 7}, {"path": "/bin/app", "uid": 7}]}, []),
]


def test_a_listing_is_compared_with_the_nar(closure: Sample, tmp_path: Path) -> None:
    """Nobody signs listings, and links at / are made of them."""
    directory = closure.cache(tmp_path / "cache", listings=True)
    listing = directory / f"{APP.hash_part}.ls"
    document = json.loads(listing.read_bytes())
    etc = document["root"]["entries"]["etc"]["entries"]
    passwd = {"type": "symlink", "target": "/proc/self/environ"}
    with fake_cache(directory) as cache:
        spec = remote_spec(tmp_path, cache)
        for changed in ({"passwd": passwd}, {}, {**etc, "passwd": passwd}):
            document["root"]["entries"]["etc"]["entries"] = changed
            listing.write_text(json.dumps(document))
            home = tmp_path / str(len(changed))
            error = nixdock(home, "build", spec, "-o", tmp_path / "image", status=1)
            assert f"the listing of {APP} in the binary cache is not that of its NAR" in error
            assert not (tmp_path / "image").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "options"), IMAGES, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("listings", [True, False])
def test_images_have_the_same_bytes(
    closure: Sample,
    tmp_path: Path,
    changes: dict[str, Any],
    options: list[str],
    listings: bool,
) -> None:
    expected, found = tmp_path / "expected", tmp_path / "found"
    nixdock(tmp_path, "build", local_spec(tmp_path, closure, **changes), "-o", expected, *options)
    with fake_cache(closure.cache(tmp_path / "cache", listings=listings)) as cache:
        nixdock(tmp_path, "build", remote_spec(tmp_path, cache, **changes), "-o", found, *options)
    assert found.read_bytes() == expected.read_bytes()


def test_options_do_what_the_keys_of_the_spec_do(
    closure: Sample, cache: FakeCache, tmp_path: Path
) -> None:
    expected, found = tmp_path / "expected", tmp_path / "found"
    local = local_spec(tmp_path, closure)
    nixdock(tmp_path, "build", local, "-o", expected)
    plain = spec_file(tmp_path / "plain.json", {"graph": "/none"})
    trust = ["--store", cache.url, "--trusted-public-key", KEY]
    nixdock(tmp_path, "build", plain, "-o", found, "--root", APP, *trust)
    assert found.read_bytes() == expected.read_bytes()
    error = nixdock(tmp_path, "build", plain, "-o", found, "--root", APP, *trust[:2], status=1)
    assert f"{APP} ({cache.url} has it, but it is signed by test-1, whose public key" in error
    unchecked = ["--root", APP, "--store", cache.url, "--no-check-sigs"]
    nixdock(tmp_path, "build", plain, "-o", found, *unchecked)
    assert found.read_bytes() == expected.read_bytes()
    graph = tmp_path / "fetched.json"
    graph.write_text(nixdock(tmp_path, "closure", APP, *trust, "--json"))
    nixdock(tmp_path, "build", plain, "-o", found, "--graph", graph, "--store", cache.url)
    assert found.read_bytes() == expected.read_bytes()


def test_a_resolved_spec_keeps_its_stores(
    closure: Sample, cache: FakeCache, tmp_path: Path
) -> None:
    expected, found, resolved = (tmp_path / name for name in ("expected", "found", "resolved"))
    nixdock(tmp_path, "build", local_spec(tmp_path, closure), "-o", expected)
    nixdock(tmp_path, "resolve", remote_spec(tmp_path, cache), "-o", resolved)
    assert json.loads(resolved.read_bytes())["closure"] == {
        "stores": [cache.url],
        "trusted_public_keys": [KEY],
    }
    nixdock(tmp_path, "build", resolved, "-o", found)
    assert found.read_bytes() == expected.read_bytes()


def test_commands_that_read_graphs_read_stores(
    closure: Sample, cache: FakeCache, tmp_path: Path
) -> None:
    trust = ["--store", cache.url, "--trusted-public-key", KEY]
    graph = closure.graph
    of_graph = nixdock(tmp_path, "registration", graph)
    assert nixdock(tmp_path, "registration", "--root", APP, *trust) == of_graph
    assert nixdock(tmp_path, "plan", "--root", APP, *trust) == nixdock(tmp_path, "plan", graph)
    nixdock(tmp_path, "db", graph, "-o", tmp_path / "one")
    nixdock(tmp_path, "db", "--root", APP, "--root", tmp_path, *trust, "-o", tmp_path / "other")
    file = "nix/var/nix/db/db.sqlite"
    assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
    lines = nixdock(tmp_path, "closure", LINK, *trust).splitlines()
    sizes = {path: closure.closure[path].nar_size for path in (LIBC, LINK)}
    assert lines == [f"{path} {size}" for path, size in sizes.items()]
    error = nixdock(tmp_path, "plan", status=2)
    assert "expected GRAPH, or the roots of a closure with --root" in error
    error = nixdock(tmp_path, "registration", graph, "--store", cache.url, status=2)
    assert "--store is for --root, in place of GRAPH" in error


def test_roots_within_a_graph(closure: Sample, tmp_path: Path) -> None:
    graph = closure.graph
    part = nixdock(tmp_path, "registration", graph, "--root", LINK)
    assert [line for line in part.splitlines() if line in {APP, LIBC, LINK}].count(APP) == 0
    assert LIBC in part
    nixdock(tmp_path, "db", graph, "--root", LINK, "-o", tmp_path / "db")
    with closing(sqlite3.connect(tmp_path / "db/nix/var/nix/db/db.sqlite")) as database:
        paths = {path for (path,) in database.execute("SELECT path FROM ValidPaths")}
    assert paths == {LIBC, LINK}
    nixdock(tmp_path, "db", graph, "--root", "link", "-o", tmp_path / "other")
    file = "nix/var/nix/db/db.sqlite"
    assert (tmp_path / "db" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
    error = nixdock(tmp_path, "db", graph, "--root", "none", "-o", tmp_path / "no", status=2)
    assert "'none' is neither a store path nor the name of one in the closure" in error
    error = nixdock(tmp_path, "db", "--root", "none", "-o", tmp_path / "no", status=2)
    assert "--root none is neither a store path nor a directory" in error
    for command in ("registration", "plan"):
        error = nixdock(tmp_path, command, graph, "--root", TOOL, status=2)
        assert f"{TOOL} is not in the closure" in error
    for option in ("--exclude", "--volatile"):
        error = nixdock(tmp_path, "plan", graph, option, TOOL, status=2)
        assert f"{TOOL} is not in the closure" in error


def test_specs_are_described_with_stores(closure: Sample, cache: FakeCache, tmp_path: Path) -> None:
    local, image = local_spec(tmp_path, closure), tmp_path / "image"
    nixdock(tmp_path, "build", local, "-o", image)
    remote = spec_file(tmp_path / "plain.json", {"roots": [APP]})
    trust = ["--store", cache.url, "--trusted-public-key", KEY]
    found = json.loads(nixdock(tmp_path, "inspect", remote, "--json", *trust))
    expected = json.loads(nixdock(tmp_path, "inspect", local, "--json"))
    assert found == expected
    diff = json.loads(nixdock(tmp_path, "diff", image, remote, "--json", *trust))
    assert diff["transfers"]["registry"]["bytes"] == 0
    error = nixdock(tmp_path, "inspect", image, *trust, status=2)
    assert "--store and the options for scripts are for a spec, not for an image" in error
    resolved = tmp_path / "resolved"
    nixdock(tmp_path, "resolve", local, "-o", resolved)
    error = nixdock(tmp_path, "build", resolved, "-o", image, "--root", APP, status=2)
    assert "the spec is resolved, so its store paths can't be those of other roots" in error


def nars(cache: FakeCache) -> set[str]:
    """Return the hash parts of the paths whose NARs were fetched, each once."""
    found = [name.removeprefix("nar/")[:32] for name in cache.names if name.startswith("nar/")]
    assert len(found) == len(set(found))
    return set(found)


def test_an_unchanged_image_is_pushed_by_narinfos_alone(
    closure: Sample, cache: FakeCache, registry: FakeRegistry, tmp_path: Path
) -> None:
    spec = remote_spec(tmp_path, cache)
    target = f"{registry.host}/x:1"
    first = nixdock(tmp_path / "a", "push", spec, target)
    assert nars(cache) == {path.hash_part for path in (APP, LIBC, LINK, SCRIPT)}
    cache.log.clear()
    assert nixdock(tmp_path / "b", "push", spec, target) == first
    narinfos = [f"{path.hash_part}.narinfo" for path in (APP, LIBC, LINK, SCRIPT)]
    expected = ["nix-cache-info", *narinfos, f"{APP.hash_part}.ls"]
    assert sorted(cache.names) == sorted(expected)


def test_an_update_of_the_app_fetches_the_app(
    closure: Sample, registry: FakeRegistry, tmp_path: Path
) -> None:
    trees = {**TREES, APP_2: {b"bin": {b"app": File(b"new", True)}, b"lib": Link(b"nowhere")}}
    both = sample(tmp_path / "both", trees)
    directory = both.cache(tmp_path / "both-cache", listings=True)
    with fake_cache(directory) as cache:
        target = f"{registry.host}/x:1"
        spec = remote_spec(tmp_path, cache)
        nixdock(tmp_path / "a", "push", spec, target)
        cache.log.clear()
        given = {"roots": [APP_2], "stores": [cache.url], "trusted_public_keys": [KEY]}
        layering = {"previous": f"docker://{target}"}
        new = spec_file(tmp_path / "new.json", given, contents=[APP_2], layering=layering)
        nixdock(tmp_path / "b", "push", new, target)
        assert nars(cache) == {APP_2.hash_part}


@pytest.mark.slow
def test_contents_may_lead_to_other_paths(closure: Sample, tmp_path: Path) -> None:
    """A profile has links to directories of packages, which are merged with those of others."""
    profile, other = (StorePath.parse(f"/nix/store/{c * 32}-{c}") for c in "gh")
    trees = {
        **TREES,
        other: {b"bin": {b"other": File(b"other", True)}, b"dangling": Link(f"{APP_2}/x".encode())},
        profile: {
            b"bin": Link(f"{APP}/bin".encode()),
            b"etc": {b"app.conf": Link(f"{APP}/etc/app.conf".encode())},
            b"share": Link(f"{LIBC}/share".encode()),
        },
    }
    both = sample(tmp_path / "both", trees)
    for copy in (False, True):
        changes = {"contents": [profile, other], "copy_contents": copy}
        expected, found = tmp_path / "expected", tmp_path / "found"
        nixdock(tmp_path, "build", local_spec(tmp_path, both, **changes), "-o", expected)
        with fake_cache(both.cache(tmp_path / f"cache-{copy}", listings=True)) as cache:
            given = {"roots": [*trees], "stores": [cache.url], "trusted_public_keys": [KEY]}
            spec = spec_file(tmp_path / "remote.json", given, **changes)
            nixdock(tmp_path, "build", spec, "-o", found)
        assert found.read_bytes() == expected.read_bytes()


def test_a_database_with_derivations(closure: Sample, tmp_path: Path) -> None:
    """Nix registers the outputs of derivations, which are in their files."""
    drv = StorePath.parse(f"/nix/store/{'d' * 31}f-x.drv")
    text = f'Derive([("out","{LIBC}","","")],[],[],"x","/bin/sh",[],[])'
    both = sample(tmp_path / "both", {**TREES, drv: File(text.encode())})
    expected, found = tmp_path / "expected", tmp_path / "found"
    nixdock(tmp_path, "build", local_spec(tmp_path, both, nix_db=True), "-o", expected)
    with fake_cache(both.cache(tmp_path / "cache")) as cache:
        given = {"roots": [APP, drv], "stores": [cache.url], "trusted_public_keys": [KEY]}
        spec = spec_file(tmp_path / "remote.json", given, nix_db=True)
        nixdock(tmp_path, "build", spec, "-o", found)
    assert found.read_bytes() == expected.read_bytes()


# Scripts, what they write into the file `here`, and the paths that they use.
SCRIPTS = [
    (f"cp {LIBC}/lib/libc.so here", bytes(range(256)) * 12, {LIBC}),
    ("cat etc/app.conf > here", b"on = true\n", {APP}),
    ("if [ -e bin/app ]; then echo yes; else echo no; fi > here", b"yes\n", {APP}),
    (f"readlink -f {LINK}/libc.so > here", f"{LIBC}/lib/libc.so.6\n".encode(), {LINK, LIBC}),
    (f"cat {TOOL} > here", b"a tool", {TOOL}),
    (f"echo {LIBC} > here", f"{LIBC}\n".encode(), set()),
]


@pytest.mark.parametrize(("script", "written", "used"), SCRIPTS)
@pytest.mark.parametrize("key", ["extra_commands", "fake_root_commands"])
def test_scripts_find_what_they_use_and_no_more_is_fetched(
    closure: Sample, tmp_path: Path, script: str, written: bytes, used: set[StorePath], key: str
) -> None:
    with_tool = sample(tmp_path / "tool", {**TREES, TOOL: File(b"a tool")})
    with fake_cache(with_tool.cache(tmp_path / "cache", listings=True)) as cache:
        spec = remote_spec(tmp_path, cache, **{key: script})
        nixdock(tmp_path, "top-layer", spec, "-o", tmp_path / "top")
        assert nars(cache) == {path.hash_part for path in used}
    with tarfile.open(tmp_path / "top/layer.tar") as tar:
        names = [name.removeprefix("/") for name in tar.getnames()]
        assert names == ["", "bin", "bin/app", "bin/big", "etc", "etc/app.conf", "here"]
        here = tar.extractfile(tar.getmembers()[-1])
        assert here is not None
        assert here.read() == written


@pytest.mark.parametrize("nix_db", [False, True])
def test_what_the_result_of_a_script_refers_to_is_in_the_image(
    tmp_path: Path, nix_db: bool
) -> None:
    """As in Nix, whose closures have what it finds references to; what is just used is not."""
    trees = {**TREES, TOOL: File(b"a tool"), APP_2: File(b"another")}
    with fake_cache(sample(tmp_path / "more", trees).cache(tmp_path / "cache")) as cache:
        script = f"cat {TOOL}; ln -s {TOOL}/x other; echo {TOOL}{APP_2} | head -c 42 > text"
        spec = remote_spec(tmp_path, cache, extra_commands=script, nix_db=nix_db)
        nixdock(tmp_path, "build", spec, "-o", tmp_path / "image")
    nixdock(tmp_path, "export", tmp_path / "image", "-o", tmp_path / "tar")
    expected = {APP, LIBC, SCRIPT, LINK, TOOL}
    with tarfile.open(tmp_path / "tar") as tar:
        names = {name.removeprefix(".") for name in tar.getnames()}
        assert {name for name in names if name.count("/") == 3 and "/store/" in name} == expected
        if nix_db:
            tar.extract("./nix/var/nix/db/db.sqlite", tmp_path, filter="data")
            with closing(sqlite3.connect(tmp_path / "nix/var/nix/db/db.sqlite")) as database:
                rows = database.execute("select path from ValidPaths").fetchall()
            assert {path for (path,) in rows} == expected


def test_what_the_result_of_a_script_may_refer_to_is_said_without_running_it(
    closure: Sample, tmp_path: Path
) -> None:
    trees = {**TREES, TOOL: File(b"a tool"), APP_2: File(b"another")}
    with fake_cache(sample(tmp_path / "more", trees).cache(tmp_path / "cache")) as cache:
        script = f"cat {TOOL} {LIBC}/lib/libc.so; ln -s {APP_2}/x other"
        spec = remote_spec(tmp_path, cache, extra_commands=script)
        lines = nixdock(tmp_path, "inspect", spec, "--quick").splitlines()
        assert lines[-3:] == [
            "The scripts have not run. Their results may add store paths:",
            *(f"  {path}" for path in sorted([APP_2, TOOL])),
        ]
        text = nixdock(tmp_path, "inspect", spec, "--quick", "--format", "markdown")
        assert text.splitlines()[-4:] == [
            "The scripts have not run. Their results may add store paths:",
            "",
            *(f"- `{path}`" for path in sorted([APP_2, TOOL])),
        ]

        def image(*words: object) -> dict[str, Any]:
            found: dict[str, Any] = json.loads(nixdock(tmp_path, "inspect", "--json", *words))
            return found["images"][0]  # type: ignore[no-any-return]

        assert image(spec, "--quick")["script_paths"] == sorted([APP_2, TOOL])
        whole = image(spec)
        assert whole["script_paths"] == []
        assert APP_2 in [path for layer in whole["layers"] for path in layer["store_paths"]]

        # Nothing can be added to a resolved spec, nor to a closure in a graph.
        env = environment(HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path), NIX_CONF_DIR="/none")
        resolved = tmp_path / "resolved.json"
        done = run("resolve", spec, "-o", resolved, env=env)
        assert done.stderr.decode().splitlines()[0] == (
            "info: the resolved spec lacks store paths to which the results of its scripts may"
            " refer; make them roots of the closure, if the image needs them:"
            f" {', '.join(sorted([APP_2, TOOL]))}"
        )
        assert image(resolved, "--quick")["script_paths"] == []
        given = {"graph": str(closure.graph), "stores": [cache.url], "trusted_public_keys": [KEY]}
        graph = spec_file(tmp_path / "graph-spec", given, extra_commands=script)
        assert image(graph, "--quick")["script_paths"] == []
        assert b"lacks store paths" not in run("resolve", graph, "-o", resolved, env=env).stderr


def test_what_is_attached_tells_of_what_the_result_of_a_script_refers_to(tmp_path: Path) -> None:
    trees = {**TREES, TOOL: File(b"a tool"), APP_2: File(b"another")}
    layout = tmp_path / "layout"
    with (
        fake_cache(sample(tmp_path / "more", trees).cache(tmp_path / "cache")) as cache,
        fake_registry() as registry,
    ):
        registry.referrers = True
        spec = remote_spec(tmp_path, cache, extra_commands=f"cat {APP_2}; ln -s {TOOL}/x other")
        sbom = ("--sbom", "cyclonedx")
        nixdock(tmp_path, "build", spec, "-o", layout, "--format", "oci-layout", *sbom)
        nixdock(tmp_path, "push", spec, f"{registry.host}/a:v1", *sbom)
        for place in (layout, f"docker://{registry.host}/a:v1"):
            document = json.loads(nixdock(tmp_path, "referrers", place, "-o", "-"))
            # What a script only uses is not in the image.
            names = sorted(each["name"] for each in document["components"])
            assert names == ["app", "libc", "link", "script", "tool"]


def test_what_cannot_be_added_to_a_graph_is_said(closure: Sample, tmp_path: Path) -> None:
    both = sample(tmp_path / "both", {**TREES, TOOL: File(b"a tool")})
    with fake_cache(both.cache(tmp_path / "cache")) as cache:
        given = {"graph": str(closure.graph), "stores": [cache.url]}
        given["trusted_public_keys"] = [KEY]
        spec = spec_file(tmp_path / "spec", given, extra_commands=f"echo {TOOL} > here")
        env = environment(HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path), NIX_CONF_DIR="/none")
        done = run("build", spec, "-o", tmp_path / "image", env=env)
    assert done.returncode == 0
    assert f"the result of a script refers to {TOOL}, which is not in the image; add it to" in (
        done.stderr.decode()
    )


def test_a_script_that_uses_a_path_that_no_store_has(cache: FakeCache, tmp_path: Path) -> None:
    spec = remote_spec(tmp_path, cache, extra_commands=f"cat {TOOL}")
    error = nixdock(tmp_path, "top-layer", spec, "-o", tmp_path / "top", status=1)
    assert error.splitlines()[-1] == (
        f"error: a script uses {TOOL}, but no store to be trusted has {TOOL}; asked were the local"
        f" store, {cache.url}; copy it into one of them"
    )
    assert not (tmp_path / "top").exists()


def test_contents_that_no_store_has(cache: FakeCache, tmp_path: Path) -> None:
    spec = remote_spec(tmp_path, cache, contents=[APP_2])
    error = nixdock(tmp_path, "build", spec, "-o", tmp_path / "image", status=1)
    assert f"no store to be trusted has {APP_2}; asked were" in error
