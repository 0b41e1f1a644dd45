"""Layers that are fetched in part: Podman fetches what changed, others read them as a whole."""

from __future__ import annotations

import gzip
import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

import nixdock
from nixdock import Compression, ImageSpec, Pushing
from nixdock.coding.libzstd import zstd

from .command import require_tool, run_tool
from .containerd import Containerd
from .engine import Docker, Engine, Podman, podman_storage
from .home import APP, BUSYBOX, MB, Home, served
from .oci_tools import Skopeo, Umoci
from .registry import Registry, local_registry

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("partial")]

BOTH = [Compression.ZSTD_CHUNKED, Compression.ESTARGZ]
both = pytest.mark.parametrize("compression", BOTH, ids=str)
DATA, PROGRAM, SCRIPT = f"{BUSYBOX}/data", f"{BUSYBOX}/bin/busybox", f"{APP}/run"
SPLIT = "io.github.containers.zstd-chunked.tarsplit-position"
TOC = "containerd.io/snapshot/stargz/toc.digest"


@pytest.fixture(scope="module")
def server() -> Iterator[Registry]:
    """A registry of which only these tests read the log."""
    with local_registry() as started:
        yield started


@pytest.fixture(scope="module")
def partial_podman() -> Iterator[Podman]:
    """Podman that fetches layers in part, with storage of its own."""
    with podman_storage({"enable_partial_images": "true"}) as engine:
        yield engine


def spec_of(home: Home, *, changed: bool = False) -> ImageSpec:
    """Return a spec of which the large package may be another version: one byte is another."""
    file = home.spec("hello")
    if changed:
        data = Path(f"{home.directory}/root{DATA}")
        contents = bytearray(data.read_bytes())
        contents[len(contents) // 2] ^= 1
        data.write_bytes(contents)
        graph = json.loads((home.directory / "graph.json").read_text())
        graph[0]["narHash"] = f"sha256:{sha256(contents).hexdigest()}"
        (home.directory / "graph.json").write_text(json.dumps(graph))
    return nixdock.read_spec(file)


def version_of(engine: Engine) -> int:
    found = re.search(r"version (\d+)", engine("--version").stdout)
    assert found is not None
    return int(found[1])


@contextmanager
def mounted(podman: Podman, image: str) -> Iterator[Path]:
    yield Path(podman("image", "mount", image).stdout.strip())
    podman("image", "unmount", image)


@both
def test_podman_fetches_what_changed(
    home: Home,
    server: Registry,
    repository: str,
    partial_podman: Podman,
    tmp_path: Path,
    compression: Compression,
) -> None:
    podman = partial_podman
    # Podman 4 knows another form of zstd:chunked. Later versions want to rebuild the tar, which the
    # data of tar-split make possible.
    in_part = (version_of(podman) >= 5) == (compression == Compression.ZSTD_CHUNKED)
    name = server.reference(repository, "v1")
    fetched = []
    for changed in (False, True):
        pushed = nixdock.push_image(
            spec_of(home, changed=changed), [name], Pushing(compression, use_cache=False)
        )
        large = max(pushed.layers, key=lambda layer: layer.size)
        before = len(server.downloads(repository))
        image = podman.pull(name)
        parts = server.downloads(repository)[before:]
        fetched.append(sum(size for found, size in parts if found == large.digest))
        assert podman.run(image, check=False).stdout == "hello\n"
        with mounted(podman, image) as root:
            for path in (DATA, PROGRAM, SCRIPT):
                own = Path(f"{home.directory}/root{path}")
                assert Path(f"{root}{path}").read_bytes() == own.read_bytes()
    # The second time, the program is there already, and perhaps the same chunks of the data.
    assert (fetched[1] < large.size - MB // 2) == in_part, fetched
    if in_part and version_of(podman) >= 5:
        # It has rebuilt the tar with the same digest.
        podman.save(image, tmp_path / "saved.tar", "--format=oci-archive")
        assert nixdock.verify_image(tmp_path / "saved.tar").problems == ()


def test_podman_fetches_from_nixdock(home: Home, partial_podman: Podman) -> None:
    spec_of(home)
    arguments = (home.directory / "spec.json", "--compression", "zstd:chunked")
    for changed in (False, True):
        spec_of(home, changed=changed)
        with served(home, *arguments) as (reference, _):
            image = partial_podman.pull(reference)
        with mounted(partial_podman, image) as root:
            own = Path(f"{home.directory}/root{DATA}")
            assert Path(f"{root}{DATA}").read_bytes() == own.read_bytes()


@both
def test_an_update_takes_over_what_is_known(
    home: Home, server: Registry, repository: str, compression: Compression
) -> None:
    """Layers that a registry has keep the annotations that it has of them."""
    name = server.reference(repository, "v1")
    options = Pushing(compression, use_cache=False)
    first = nixdock.push_image(spec_of(home), [name], options)
    again = nixdock.push_image(spec_of(home), [name], options)
    assert again.digest == first.digest
    # Only the image's own files, of which there are none, are packed again.
    assert again.read <= 10240
    checked = nixdock.push_image(
        spec_of(home), [name], Pushing(compression, use_cache=False, verify_known=True)
    )
    assert checked.digest == first.digest
    assert nixdock.verify_image(f"docker://{name}").problems == ()
    # They stay in copies, too.
    copy = server.reference(f"{repository}-copy", "v1")
    nixdock.copy_image(f"docker://{name}", f"docker://{copy}")
    assert nixdock.verify_image(f"docker://{copy}").problems == ()


def built(home: Home, form: str, compression: Compression) -> Path:
    target = home.directory / f"image-{form}"
    nixdock.build_image(spec_of(home), target, form=form, compression=compression)
    return target


@both
def test_engines_load_it(
    home: Home, docker: Docker, podman: Podman, containerd: Containerd, compression: Compression
) -> None:
    archive = built(home, "archive", compression)
    engines: list[Engine] = [podman]
    # Docker knows zstd since version 23.
    if compression == Compression.ESTARGZ or int(docker_version(docker)) >= 23:
        engines.append(docker)
    for engine in engines:
        assert engine.run(engine.load(archive), check=False).stdout == "hello\n"
    (name,) = (each for each in containerd.load(archive) if "test/greeting" in each)
    containerd("images", "rm", name)


def docker_version(docker: Docker) -> str:
    return docker("version", "--format", "{{.Server.Version}}").stdout.partition(".")[0]


@both
def test_skopeo_and_umoci_read_it(
    home: Home, skopeo: Skopeo, umoci: Umoci, tmp_path: Path, compression: Compression
) -> None:
    layout = built(home, "oci-layout", compression)
    skopeo.copy(f"oci:{layout}:v1", f"dir:{tmp_path}/copied")
    if compression == Compression.ESTARGZ:
        root = umoci.unpack(layout, "v1", tmp_path / "bundle")
        own = Path(f"{home.directory}/root{PROGRAM}")
        assert Path(f"{root}{PROGRAM}").read_bytes() == own.read_bytes()


def largest_layer(layout: Path) -> tuple[dict[str, str], str, bytes]:
    """Return the annotations of a layer, its digest, and its bytes."""
    index = json.loads((layout / "index.json").read_text())
    blobs = layout / "blobs/sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    layer = max(manifest["layers"], key=lambda each: each["size"])
    return layer["annotations"], layer["digest"], (blobs / layer["digest"][7:]).read_bytes()


def test_tar_split_rebuilds_the_tar(home: Home, tmp_path: Path) -> None:
    layout = built(home, "oci-layout", Compression.ZSTD_CHUNKED)
    annotations, _, data = largest_layer(layout)
    at, size, _ = map(int, annotations[SPLIT].split(":"))
    lines = zstd.decompress(data[at : at + size])
    (tmp_path / "split.json.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "layer.tar").write_bytes(zstd.decompress(data))
    with tarfile.open(tmp_path / "layer.tar") as tar:
        tar.extractall(tmp_path / "files", filter="tar")
    command: list[str | Path] = [require_tool("tar-split"), "asm", "--path", tmp_path / "files"]
    command += ["--input", tmp_path / "split.json.gz", "--output", tmp_path / "rebuilt.tar"]
    run_tool(command)
    assert (tmp_path / "rebuilt.tar").read_bytes() == (tmp_path / "layer.tar").read_bytes()


def test_stargz_reads_the_table_of_contents(home: Home, containerd: Containerd) -> None:
    annotations, digest, _ = largest_layer(built(home, "oci-layout", Compression.ESTARGZ))
    (name,) = (
        each
        for each in containerd.load(built(home, "archive", Compression.ESTARGZ))
        if "test/greeting" in each
    )
    ctr: list[str | Path] = [require_tool("ctr-remote"), "--address", containerd.socket]
    found = run_tool([*ctr, "images", "get-toc-digest", digest], env=containerd.env)
    assert found.stdout.strip() == annotations[TOC]
    containerd("images", "rm", name)
