"""`nixdock load` and `run` with real Docker, Podman and containerd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import nixdock
from nixdock.oci.platforms import machine_platform

from .containerd import Containerd
from .engine import Docker, Engine, Podman
from .home import APP, BUSYBOX, MB, Home, left_behind, started
from .target import Target, containerd_target, engine_target

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("containers")]


def load(home: Home, target: Target, *arguments: object) -> dict[str, Any]:
    done = home("load", "-q", "--json", "--into", target.name, *arguments, env=target.env)
    assert target.passing() == set()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_only_what_changed_is_loaded(home: Home, target: Target) -> None:
    first = load(home, target, home.spec("one"))
    assert first["names"] == [f"{target.host}test/greeting:v1"]
    assert first["bytes_sent"] > 2 * MB
    # An image of another test may have the same files of its own.
    busybox, app, _ = first["layers"]
    assert all(layer["bytes_sent"] == layer["size"] for layer in (busybox, app))

    # Podman asks for the config each time.
    again = load(home, target, home.spec("one"))
    assert again["image"] == first["image"]
    assert [layer["bytes_sent"] for layer in again["layers"]] == [0] * len(first["layers"])
    assert again["bytes_sent"] < 3000

    changed = load(home, target, home.spec("two"))
    assert changed["image"] != first["image"]
    sent = [layer for layer in changed["layers"] if layer["bytes_sent"]]
    # Docker asks for the layers above a new one as well, because it knows them only together.
    above = ["the image's own files"] if target.knows_chains else []
    assert [layer["comment"] for layer in sent] == ["1 store path: app", *above]
    assert changed["bytes_sent"] < sum(layer["size"] for layer in sent) + 3000
    assert f"sha256:{target.image('test/greeting:v1')}" == changed[target.identity]


def library_spec(home: Home, sizes: Mapping[str, int]) -> Path:
    """Write a spec whose app, the first of the packages, needs all others; sizes are in kB."""
    graph, root = [], home.directory / "root"
    paths = {}
    for name, size in sizes.items():
        digest = sha256(f"{home.directory} {name} {size}".encode())
        letters = digest.hexdigest().translate(str.maketrans("e", "z"))[:32]
        paths[name] = path = f"/nix/store/{letters}-{name}"
        Path(f"{root}{path}").mkdir(parents=True, exist_ok=True)
        Path(f"{root}{path}/data").write_bytes(digest.digest() * (size * 1000 // 32))
        nar = {"narSize": size * 1000, "narHash": f"sha256:{digest.hexdigest()}"}
        graph.append({"path": path, "references": [], **nar})
    app, *others = graph
    app["references"] = [each["path"] for each in others]
    (home.directory / "libraries.json").write_text(json.dumps(graph))
    spec = home.directory / "libraries-spec.json"
    document = {
        "version": 1,
        "name": "test/libraries",
        "closure": {"graph": "libraries.json"},
        "store": {"root": str(root)},
        "config": {"Entrypoint": [f"{paths['app']}/run"]},
        "max_layers": 6,
    }
    spec.write_text(json.dumps(document))
    return spec


def test_layers_stay_that_can_stay(home: Home, target: Target) -> None:
    """The image that has the name is the previous one, without being named."""
    sizes = {f"lib{letter}-1.{letter}": 100 + 40 * n for n, letter in enumerate("bcdfghijkl")}
    old = {"app": 50, **sizes}
    # A library that has had a layer with others needs one by itself, and the app is a new one.
    new = {"app": 51, **sizes, "libd-1.d": 2_000}
    first = load(home, target, library_spec(home, old))
    layers = {each["digest"]: each["comment"] for each in first["layers"]}
    staying = {
        digest
        for digest, comment in layers.items()
        if "libd" not in comment and "app" not in comment and "own files" not in comment
    }
    assert len(staying) >= 3

    spec = library_spec(home, new)
    second = load(home, target, spec, "--tag", "test/libraries:v2", "--no-previous")
    assert not staying <= {each["digest"] for each in second["layers"]}
    third = load(home, target, spec)
    assert staying < {each["digest"] for each in third["layers"]}
    assert third["image"] != second["image"]
    # Nor does it matter how often it is loaded.
    assert load(home, target, spec)["image"] == third["image"]
    # containerd itself has the config.
    kept = home.directory / "nixdock/documents"
    assert kept.exists() is (target.name != "containerd")


def test_it_runs(home: Home, target: Target) -> None:
    # containerd's own program does not know entrypoints.
    command = [f"{APP}/run"] if target.name == "containerd" else []
    words = ["--into", target.name, *target.options, "--", *command, "to", "you"]
    done = home("run", "-q", home.spec("hello"), *words, env=target.env, check=False)
    assert (done.stdout, done.returncode) == ("hello to you\n", 3), done.stderr
    assert target.passing() == set()


def test_a_container_has_the_terminal(home: Home, target: Target) -> None:
    spec = home.spec("$(test -t 0 && echo a terminal)")
    command = [f"{APP}/run"] if target.name == "containerd" else []
    words = ["run", "-q", spec, "--into", target.name, *target.options, "--", *command]
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "nixdock", *map(str, words)],
        env=home.environment(target.env),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = b""
        # Linux reports an error at the end of a terminal.
        with suppress(OSError):
            while data := os.read(ours, 1 << 12):
                shown += data
        os.close(ours)
    assert (process.returncode, shown.rstrip()) == (3, b"a terminal")
    assert left_behind(home) == []


def test_several_images_at_once(home: Home, target: Target) -> None:
    """In one command, and in several that know nothing of each other."""
    spec, layout = home.spec("several"), home.directory / "layout"
    home("build", "-q", spec, "-o", layout, "--format", "oci-layout", env=os.environ)
    done = home("load", "-q", spec, layout, "--into", target.name, env=target.env)
    assert done.stdout == f"{target.host}test/greeting:v1\n" * 2
    names = [f"test/at-once:v{n}" for n in range(3)]
    with ExitStack() as stack:
        loads = [
            stack.enter_context(
                started(
                    home,
                    *("load", "-q", spec, "--into", target.name, "--tag", name),
                    env=target.env,
                )
            )
            for name in names
        ]
        for process, name in zip(loads, names, strict=True):
            out, err = process.communicate(timeout=60)
            assert (process.returncode, out) == (0, f"{target.host}{name}\n"), err
    same = {target.image(name) for name in names}
    assert len(same) == 1
    # The layers of the layout are compressed, which only a manifest's digest tells.
    assert target.identity == "digest" or same == {target.image("test/greeting:v1")}
    assert target.passing() == set()
    assert left_behind(home) == []


def test_the_demo_is_loaded_and_runs(home: Home, docker: Docker) -> None:
    done = home("demo", "-o", home.directory / "demo.tar", env=docker.env)
    assert done.stderr == ""
    assert "\n\nLoaded into docker as nixdock-demo:latest, and run:\n\nHello from" in done.stdout
    assert "127.0.0.1" not in docker("images", "--all", "--digests").stdout


def test_the_image_of_an_archive_in_containerd(home: Home, containerd: Containerd) -> None:
    target, spec = containerd_target(containerd), home.spec("archive")
    archive = home.directory / "image.tar"
    loaded = load(home, target, spec, "--tag", "test/by-load:v1")
    built = nixdock.build_image(nixdock.read_spec(spec), archive, form="docker-archive")
    assert "docker.io/test/greeting:v1" in containerd.load(archive)
    same = {target.image(f"test/{name}:v1") for name in ("by-load", "greeting")}
    assert {f"sha256:{each}" for each in same} == {loaded["image"], built.config.digest}
    assert len(same) == 1


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_the_image_is_that_of_an_archive(
    request: pytest.FixtureRequest, home: Home, name: str
) -> None:
    engine: Engine = request.getfixturevalue(name)
    target = engine_target(name, engine)
    spec, archive = home.spec("archive"), home.directory / "image.tar"
    loaded = load(home, target, spec, "--tag", "test/by-load:v1")
    nixdock.build_image(nixdock.read_spec(spec), archive, form="docker-archive")
    by_archive = engine.inspect(engine.load(archive))
    by_load = engine.inspect("test/by-load:v1")
    assert loaded[target.identity].endswith(by_load["Id"].removeprefix("sha256:"))
    # An archive of that kind has no manifest, whose digest could be an ID.
    assert target.identity == "digest" or by_archive["Id"] == by_load["Id"]
    for each in ("Architecture", "Config", "Created", "Os", "RootFS"):
        assert by_archive[each] == by_load[each]
    # The archive itself is an image at a location, and has the same ID there.
    again = load(home, target, f"docker-archive:{archive}")
    assert again["image"] == loaded["image"]


def test_an_image_with_compressed_layers(home: Home, docker: Docker, podman: Podman) -> None:
    layout = home.directory / "layout"
    built = nixdock.build_image(nixdock.read_spec(home.spec("gz")), layout, form="oci-layout")
    for name, engine in (("docker", docker), ("podman", podman)):
        found = load(home, engine_target(name, engine), layout, "--tag", "test/layout:v1")
        assert (found["digest"], found["image"]) == (built.manifest.digest, built.config.digest)
        done = engine.run("test/layout:v1", check=False)
        assert (done.returncode, done.stdout) == (3, "gz\n")


def layout_for(home: Home, *architectures: str) -> dict[str, str]:
    """Write a layout with an image for each architecture; return the digests of their configs."""
    layout, spec = home.directory / "layout", home.spec("several platforms")
    entries, configs = [], {}
    for architecture in architectures:
        document = {**json.loads(spec.read_bytes()), "architecture": architecture}
        spec.write_text(json.dumps(document))
        part = home.directory / architecture
        built = nixdock.build_image(nixdock.read_spec(spec), part, form="oci-layout")
        configs[architecture] = built.config.digest
        entries += json.loads((part / "index.json").read_bytes())["manifests"]
        shutil.copytree(part, layout, dirs_exist_ok=True)
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    return configs


def test_the_image_for_the_platform_of_the_runtime(home: Home, target: Target) -> None:
    own = machine_platform("linux", os.uname().machine).architecture
    other = "s390x"
    configs = layout_for(home, other, own)
    layout, tag = home.directory / "layout", ("--tag", "test/platform:v1")
    assert load(home, target, layout, *tag)["image"] == configs[own]
    assert load(home, target, layout, *tag, f"--platform=linux/{other}")["image"] == configs[other]
    # What is for one platform alone is meant as it is.
    assert load(home, target, home.directory / other, *tag)["image"] == configs[other]
    words = ("load", "-q", "--into", target.name)
    done = home(*words, layout, "--platform=linux/riscv64", env=target.env, check=False)
    assert done.returncode == 2
    assert f"has no image for linux/riscv64; it has images for linux/{other}" in done.stderr
    done = home(*words, home.spec("one"), "--platform=linux/arm64", env=target.env, check=False)
    assert done.returncode == 2
    assert "a spec is for one platform, which it states itself" in done.stderr


def test_a_layer_that_can_not_be_packed(home: Home, target: Target) -> None:
    """The runtime does not ask again and again, and the error is that of nixdock."""
    spec = home.spec(f"broken {target.name}")
    home("serve", "--until-idle", "0.01", "--compression", "none", spec, env=os.environ)
    data = home.directory / f"root{BUSYBOX}/data"
    data.chmod(0o644)
    data.write_bytes(b"other")
    words = ("load", "-q", "--into", target.name, "--tag", "test/broken:v1")
    done = home(*words, spec, env=target.env, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the layer with 1 store path: busybox is not sha256:")
    assert done.stderr.endswith("; the cache is corrected, so try again\n")
    assert target.passing() == set()
    assert "test/broken" not in target.names()
    home(*words, spec, env=target.env)
