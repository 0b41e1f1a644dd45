"""What goes over the wire to a real registry when images are pushed and pulled."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import nixdock
from nixdock import Compression, Pushing
from tests.unit.cli.program import PROGRAM, environment

from .command import wait_until
from .registry import Registry, local_registry
from .wire import Wire, wire_to

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("registry")]

Write = Callable[..., Path]
APP = f"nix/store/{'d' * 32}-app"
LARGE = 3 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[Registry]:
    """A registry of which only these tests read the log."""
    with local_registry() as started:
        yield started


@pytest.fixture
def wire(server: Registry) -> Iterator[Wire]:
    with wire_to(server.address) as opened:
        yield opened


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing is known but what the registry tells."""
    directory = tmp_path / "home"
    (directory / "tmp").mkdir(parents=True)
    for name in ("NIX_BUILD_TOP", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
    return directory


def change_app(directory: Path, data: bytes) -> None:
    """Give the app another file, and another hash."""
    app = directory / "root" / APP
    (app / "etc").chmod(0o755)
    file = app / "etc/data"
    file.unlink(missing_ok=True)
    file.write_bytes(data)
    file.chmod(0o444)
    (app / "etc").chmod(0o555)
    graph = json.loads((directory / "graph.json").read_text())
    (info,) = (each for each in graph if each["path"].endswith("-app"))
    info["narHash"] = f"sha256:{hashlib.sha256(data).hexdigest()}"
    (directory / "graph.json").write_text(json.dumps(graph))


@pytest.fixture
def spec(tmp_path: Path, sample_spec: Write) -> Path:
    """An image of five layers, of which the app's has three megabytes that do not compress."""
    file = sample_spec(tmp_path)
    change_app(tmp_path, random.Random(1).randbytes(LARGE))
    return file


def push(spec: Path, name: str, *options: str) -> dict[str, Any]:
    command = [*PROGRAM, "push", str(spec), name, "-q", "--json", "--no-cache", *options]
    done = subprocess.run(command, env=environment(), capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def outcomes(result: dict[str, Any]) -> set[str]:
    return {layer["outcome"] for layer in result["layers"]}


def requests(server: Registry, repository: str) -> list[tuple[str, str]]:
    """Return the methods and targets of the requests so far, oldest first."""
    server.downloads(repository)  # This waits for the log.
    found = []
    for line in server.requests(f"/v2/{repository}/"):
        method, uri = re.search(r"method=(\S+)", line), re.search(r'uri="?([^"\s]*)', line)
        assert method is not None and uri is not None
        found.append((method[1], uri[1]))
    return found


def test_an_unchanged_image_is_not_sent(
    server: Registry, wire: Wire, repository: str, spec: Path
) -> None:
    name = f"{wire.address}/{repository}:v1"
    first = push(spec, name)
    assert outcomes(first) == {"uploaded"}
    assert LARGE < wire.sent < first["bytes_sent"] + 40_000
    before, sent = len(requests(server, repository)), wire.sent
    again = push(spec, name)
    logged = requests(server, repository)[before:]
    assert [method for method, _ in logged] == ["GET", "GET"]
    assert again["requests"] <= 6
    assert (outcomes(again), again["bytes_sent"]) == ({"known"}, 0)
    # The script runs, but no file of the store is read.
    assert again["bytes_read"] < 20_000
    assert wire.sent - sent < 5000


def test_another_repository_mounts_all_layers(
    server: Registry, wire: Wire, repository: str, spec: Path
) -> None:
    first = push(spec, f"{wire.address}/{repository}:v1")
    sent = wire.sent
    other = f"{repository}-other"
    result = push(spec, f"{wire.address}/{other}:v1", "--reuse", f"{wire.address}/{repository}:v1")
    assert (result["digest"], outcomes(result)) == (first["digest"], {"mounted"})
    writes = [each for each in requests(server, other) if each[0] not in {"GET", "HEAD"}]
    mounts = [uri for method, uri in writes if method == "POST" and "mount=" in uri]
    assert len(mounts) == len({layer["digest"] for layer in first["layers"]}) == 5
    rest = [(method, uri.partition("?")[0]) for method, uri in writes if uri not in mounts]
    base = f"/v2/{other}"
    assert [(method, re.sub(r"uploads/.+", "uploads/...", uri)) for method, uri in rest] == [
        ("POST", f"{base}/blobs/uploads/"),
        ("PUT", f"{base}/blobs/uploads/..."),
        ("PUT", f"{base}/manifests/{first['digest']}"),
        ("PUT", f"{base}/manifests/v1"),
    ]
    assert wire.sent - sent < 20_000


def test_only_a_changed_app_is_sent(
    server: Registry, wire: Wire, repository: str, spec: Path
) -> None:
    name = f"{wire.address}/{repository}:v1"
    first = push(spec, name)
    change_app(spec.parent, random.Random(2).randbytes(100_000))
    before, sent = len(requests(server, repository)), wire.sent
    result = push(spec, name)
    new = [layer for layer in result["layers"] if layer["outcome"] != "known"]
    assert [layer["outcome"] for layer in new] == ["uploaded"]
    assert new[0]["digest"] not in {layer["digest"] for layer in first["layers"]}
    puts = [uri for method, uri in requests(server, repository)[before:] if method == "PUT"]
    assert len(puts) == 4, "the layer, the config, and the manifest under digest and tag"
    assert 100_000 < wire.sent - sent < result["bytes_sent"] + 20_000 < 150_000


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_however_an_image_is_made_it_has_one_digest(
    server: Registry, repository: str, spec: Path, tmp_path: Path, compression: Compression
) -> None:
    image = nixdock.read_spec(spec)
    digests = {}
    names = [f"{server.address}/{repository}-{i}:v1" for i in range(4)]
    for cores, name, reuse in zip((1, 2, 5, 5), names, ([], [], [], names[:1]), strict=True):
        how = Pushing(compression, cores=cores, use_cache=False)
        pushed = nixdock.push_image(image, [name], how, reuse=reuse)
        assert {layer.outcome for layer in pushed.layers} == {"mounted" if reuse else "uploaded"}
        digests[name] = pushed.digest
    for form in ("archive", "oci-layout", "oci-archive"):
        target = str(tmp_path / form)
        nixdock.build_image(image, Path(target), form=form, compression=compression)
        (found,) = nixdock.inspect_image(target).document()["images"]
        digests[form] = found["digest"]
    assert len({*digests.values()}) == 1, digests


def test_a_base_is_mounted_and_never_sent(
    server: Registry, wire: Wire, repository: str, spec: Path, sample_spec: Write
) -> None:
    base = f"{wire.address}/{repository}-base:v1"
    layers = [layer["digest"] for layer in push(spec, base)["layers"]]
    derived = sample_spec(
        spec.parent, from_image={"path": f"docker://{base}"}, extra_commands="touch new"
    )
    # The graph's sizes are larger than the real ones: the base would have parts of the paths.
    graph = spec.parent / "graph.json"
    graph.write_text(graph.read_text().replace('"narSize": 1000', '"narSize": 1'))
    before, sent = len(server.downloads(f"{repository}-base")), wire.sent
    result = push(derived, f"{wire.address}/{repository}-app:v1")
    of_base = [layer for layer in result["layers"] if layer["digest"] in layers]
    assert [layer["digest"] for layer in of_base] == layers
    assert {layer["outcome"] for layer in of_base} == {"mounted"}
    assert wire.sent - sent < 40_000
    # Which files the base has is in its layers only: each is fetched once, apart from its start.
    read = server.downloads(f"{repository}-base")[before:]
    whole = [name for name, size in read if name in layers and size > 64]
    assert len(whole) == len({*whole})


def start(directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start nixdock, whose temporary files go below the home."""
    env = environment(TMPDIR=f"{os.environ['HOME']}/tmp")
    command = [*PROGRAM, *arguments, "-q"]
    return subprocess.Popen(
        command, env=env, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


ENDS = {
    signal.SIGINT: (130, b"\nerror: interrupted\n"),
    signal.SIGTERM: (143, b"error: terminated\n"),
    signal.SIGKILL: (-9, b""),
}


def killed_at(
    wire: Wire, size: int, number: signal.Signals, running: subprocess.Popen[bytes]
) -> bool:
    """Send a signal after so many bytes on the wire; tell whether it came before the end."""
    begin = wire.bytes
    # What is left can't pass before the signal has come.
    with wire.held_at(size), running:
        wait_until(
            lambda: wire.bytes - begin >= size or running.poll() is not None,
            timeout=60,
            what="traffic",
        )
        running.send_signal(number)
        _, err = running.communicate(timeout=60)
    assert (running.returncode, err) in {(0, b""), ENDS[number]}
    return running.returncode != 0


@pytest.mark.parametrize("number", list(ENDS))
def test_a_push_that_is_killed_leaves_a_whole_image(
    server: Registry,
    wire: Wire,
    repository: str,
    spec: Path,
    home: Path,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    name, direct = (f"{each.address}/{repository}:v1" for each in (wire, server))
    change_app(tmp_path, b"old")
    old = push(spec, name)["digest"]
    change_app(tmp_path, random.Random(int(number)).randbytes(LARGE))
    new = nixdock.build_image(nixdock.read_spec(spec), tmp_path / "new", form="oci-layout")
    # Before the first upload has ended, or in the middle of the largest one.
    size = 5_000 if number == signal.SIGINT else 2 << 20
    assert killed_at(wire, size, number, start(tmp_path, "push", str(spec), name, "--no-cache"))
    found = nixdock.pull_image(direct, tmp_path / "found", form="oci-layout")
    assert found.digest in {old, new.manifest.digest}
    assert nixdock.verify_image(tmp_path / "found").problems == ()
    assert killed_at(wire, 1 << 40, number, start(tmp_path, "push", str(spec), name)) is False
    assert nixdock.pull_image(direct, tmp_path / "found.tar").digest == new.manifest.digest
    assert list((home / "tmp").iterdir()) == []


@pytest.mark.parametrize("number", list(ENDS))
def test_a_pull_that_is_killed_leaves_nothing_or_all(
    wire: Wire, repository: str, spec: Path, home: Path, tmp_path: Path, number: signal.Signals
) -> None:
    name = f"{wire.address}/{repository}:v1"
    push(spec, name)
    directory = tmp_path / "pulls"
    directory.mkdir()
    killed = []
    for size in (5_000, 1 << 20):
        (directory / "image.tar").unlink(missing_ok=True)
        running = start(directory, "pull", name, "-o", "image.tar")
        killed.append(killed_at(wire, size, number, running))
        if (directory / "image.tar").exists():
            assert nixdock.verify_image(directory / "image.tar").problems == ()
    assert killed[0]
    assert killed_at(wire, 1 << 40, number, start(directory, "pull", name, "-o", "image.tar")) is (
        False
    )
    assert nixdock.verify_image(directory / "image.tar").problems == ()
    assert [file.name for file in directory.iterdir()] == ["image.tar"]
    assert list((home / "tmp").iterdir()) == list((home / "cache/nixdock/partial").iterdir()) == []


def test_two_pushes_to_one_tag_leave_one_of_the_images(
    server: Registry, repository: str, spec: Path, tmp_path: Path, sample_spec: Write
) -> None:
    (tmp_path / "other").mkdir()
    other = sample_spec(tmp_path / "other")
    name = f"{server.address}/{repository}:v1"
    # Both use one cache, too.
    with ExitStack() as stack:
        running = [
            stack.enter_context(start(tmp_path, "push", str(each), name))
            for each in (spec, other) * 2
        ]
        errors = [each.communicate(timeout=60)[1] for each in running]
    assert errors == [b""] * 4
    assert [each.returncode for each in running] == [0] * 4
    found = nixdock.pull_image(name, tmp_path / "found", form="oci-layout").digest
    assert nixdock.verify_image(tmp_path / "found").problems == ()
    built = [
        nixdock.build_image(nixdock.read_spec(each), tmp_path / f"{i}", form="oci-layout")
        for i, each in enumerate((spec, other))
    ]
    assert found in {each.manifest.digest for each in built}


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_a_large_blob_is_never_in_memory_as_a_whole(
    server: Registry, repository: str, tmp_path: Path, direction: str
) -> None:
    size = 400 << 20
    layout = large_layout(tmp_path / "large", size)
    name = f"{server.address}/{repository}:v1"
    used = peak_memory(tmp_path, "push", f"oci:{layout}:v1", name)
    if direction == "pull":
        used = peak_memory(tmp_path, "pull", name, "-o", "image.tar")
    assert used < size // 3


# A process counts the memory of its parent before it became another program: here, a small one.
MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(status)
"""


def peak_memory(directory: Path, *arguments: str) -> int:
    """Run a command that succeeds, and return the most memory that it had, in bytes."""
    command = [sys.executable, "-c", MEASURE, *PROGRAM, *arguments, "-q"]
    done = subprocess.run(
        command, env=environment(), cwd=directory, capture_output=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return int(done.stdout)


def large_layout(directory: Path, size: int) -> Path:
    """Write a layout whose image has one layer, a tar with a file of zeros, without compression."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    member = tarfile.TarInfo("zeros")
    member.size = size
    head, end = member.tobuf(tarfile.USTAR_FORMAT), bytes(2 * tarfile.BLOCKSIZE)
    with (directory / "layer").open("w+b") as layer:
        layer.write(head)
        layer.truncate(len(head) + size)
        layer.seek(0, os.SEEK_END)
        layer.write(end)
        layer.seek(0)
        name = hashlib.file_digest(layer, "sha256").hexdigest()
    (directory / "layer").rename(blobs / name)

    def add(kind: str, document: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(document).encode()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return descriptor(kind, digest, len(data))

    def descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}

    rootfs = {"type": "layers", "diff_ids": [f"sha256:{name}"]}
    config = add("config.v1+json", {"architecture": "amd64", "os": "linux", "rootfs": rootfs})
    layers = [descriptor("layer.v1.tar", name, len(head) + size + len(end))]
    manifest = add("manifest.v1+json", {"schemaVersion": 2, "config": config, "layers": layers})
    named = {**manifest, "annotations": {"org.opencontainers.image.ref.name": "v1"}}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return directory
