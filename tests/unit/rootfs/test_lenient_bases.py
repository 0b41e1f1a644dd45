"""Base images that runtimes take although something is wrong: used, with a warning in `verify`."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

import nixdock
from nixdock.cli import main
from nixdock.errors import ImageError, InputError
from tests.unit.docker_archive import File, archive, directory, entry, layer, link

PLAIN = layer(("a", "x"))


def hard_link(name: str, target: str) -> tarfile.TarInfo:
    return entry(name, tarfile.LNKTYPE, linkname=target)


def attribute(name: str, key: str) -> tarfile.TarInfo:
    return entry(name, pax_headers={f"SCHILY.xattr.{key}": "y"})


def sparse(tmp_path: Path) -> bytes:
    with (tmp_path / "log").open("wb") as file:
        file.truncate(3_000_000)
        file.seek(2_000_000)
        file.write(b"x")
    command = ["tar", "--format=pax", "-S", "--mtime=@1", "-cf", "layer.tar", "log"]
    subprocess.run(command, cwd=tmp_path, check=True)
    return (tmp_path / "layer.tar").read_bytes()


LAYERS: Mapping[str, tuple[Sequence[bytes], dict[str, bytes | None], str]] = {
    "overlay attributes": (
        [layer(directory("etc", pax_headers={"SCHILY.xattr.user.overlay.impure": "y"}),
               attribute("etc/a", "trusted.overlay.opaque"))],
        {"etc/a": b""},
        "'etc' has extended attributes that overlayfs reserves: Docker may store them, Podman and",
    ),
    "whiteouts that are hard links": (
        [layer(("a", ""), ("b", ""), ("c", "c")),
         layer((".wh.a", ""), hard_link(".wh.b", ".wh.a"))],
        {"c": b"c"},
        "the whiteout '.wh.b' is a hard link to another one",
    ),
    "a file below its layer's own link": (
        [layer(directory("usr"), directory("usr/lib"), link("lib", "usr/lib"), ("lib/foo", "x"),
               hard_link("bar", "lib/foo"))],
        {"usr/lib/foo": b"x", "bar": b"x"},
        "'lib/foo' is below 'lib', a symbolic link: Docker and Podman refuse it unless the link",
    ),
    "a file below its layer's link into a lower layer": (
        [layer(("usr/lib/bar", "")), layer(link("lib", "/usr/lib"), ("lib/foo", "x"))],
        {"usr/lib/foo": b"x", "usr/lib/bar": b""},
        "'lib/foo' is below 'lib', a symbolic link",
    ),
    "a file that replaces another one by way of a link": (
        [layer(("usr/lib/foo", "old"), link("lib", "usr/lib"), ("lib/foo", "new"),
               hard_link("h", "usr/lib/foo"))],
        {"usr/lib/foo": b"new", "h": b"new"},
        "'lib/foo' is below 'lib', a symbolic link",
    ),
    "a layer of no bytes": ([PLAIN, b""], {"a": b"x"}, "it has no end-of-archive marker"),
    "no end": ([PLAIN[:1024]], {"a": b"x"}, "it has no end-of-archive marker"),
    "half an end": (
        [PLAIN[:1536]], {"a": b"x"}, "its end-of-archive marker has one block of zeros, not two"
    ),
    "a directory twice": (
        [layer(directory("d"), ("d/x", ""), directory("d"))],
        {"d/x": b""},
        "the directory 'd' appears twice: containerd takes the last one, but Docker and Podman",
    ),
    "a hard link to a lower layer": (
        [PLAIN, layer(hard_link("h", "a"))],
        {"a": b"x", "h": b"x"},
        "the hard link 'h' is to 'a', which is not an earlier file in the same layer: umoci finds",
    ),
    "a file below a link of a lower layer": (
        [layer(("usr/bin/ls", ""), link("bin", "usr/bin")), layer(("bin/foo", "x"))],
        {"usr/bin/ls": b"", "bin/foo": b"x"},
        "below 'bin', a symbolic link of a lower layer: Docker, Podman and containerd put a",
    ),
    "a whiteout below a link of a lower layer": (
        [layer(("usr/bin/ls", ""), link("bin", "usr/bin")), layer(("bin/.wh.ls", ""))],
        {"usr/bin/ls": b""},
        "below 'bin', a symbolic link of a lower layer: Docker, Podman and containerd put a",
    ),
    "a file in a directory of others": (
        [layer(directory("tmp", mode=0o1777)), layer(("tmp/a", "x"))],
        {"tmp/a": b"x"},
        "below 'tmp', but no entry for it: containerd and umoci keep its mode 1777",
    ),
    "a directory that its layer deletes": (
        [layer(("d/x", "")), layer((".wh.d", ""), directory("d"), ("d/y", ""))],
        {"d/x": b"", "d/y": b""},
        "the layer deletes 'd' and has a directory of that name: Docker, Podman and containerd",
    ),
    "a file that its layer deletes": (
        [layer(("d/x", "")), layer(directory("d"), ("d/x", "y"), ("d/.wh.x", ""))],
        {"d/x": b"y"},
        "the layer has 'd/x' and deletes it, in an order at which Docker, Podman and containerd",
    ),
    "a directory that is deleted before it is made": (
        [layer(("d/x", "")), layer((".wh.d", ""), ("d/y", ""))],
        {"d/y": b""},
        "the layer has 'd' and deletes it, in an order at which Docker, Podman and containerd",
    ),
    "an opaque root": (
        [PLAIN, layer((".wh..wh..opq", ""), ("b", ""))],
        {"a": b"x", "b": b""},
        "the whole root directory is opaque: Docker, Podman and containerd keep what lower layers",
    ),
}  # fmt: skip


def files_of(image: Path, target: Path) -> dict[str, bytes | None]:
    out = io.BytesIO()
    nixdock.export_image(image, out.write)
    out.seek(0)
    found: dict[str, bytes | None] = {}
    with tarfile.open(fileobj=out) as tar:
        for member in tar:
            assert not any("overlay" in key for key in member.pax_headers)
            if member.isreg() or member.islnk():
                file = tar.extractfile(member)
                found[member.name.removeprefix("./")] = file.read() if file else None
    return found


def build(base: Path, target: Path) -> Path:
    spec = target.parent / "spec.json"
    script = "mkdir -p own; touch own/file"
    keys = {"from_image": {"path": str(base)}, "extra_commands": script}
    spec.write_text(json.dumps({"version": 1, "name": "n", **keys}))
    args = ["build", str(spec), "-q", "-o", str(target), "--format", "oci-layout"]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 0, done.exception
    return target


def check(base: Path, tmp_path: Path, files: dict[str, bytes | None], message: str) -> None:
    found = nixdock.verify_image(base)
    assert found.problems == ()
    assert any(message in warning.message for warning in found.warnings), found.warnings
    strict = nixdock.verify_image(base, strict=True)
    assert any(message in problem.message for problem in strict.problems)
    assert strict.warnings == ()
    assert files_of(base, tmp_path) == files
    built = build(base, tmp_path / "built")
    assert files_of(built, tmp_path) == {**files, "own/file": b""}
    assert nixdock.verify_image(built).problems == ()


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("compress", [False, True])
def test_layers(tmp_path: Path, name: str, compress: bool) -> None:
    layers, files, message = LAYERS[name]
    check(archive(tmp_path / "base.tar", layers, compress), tmp_path, files, message)


def test_a_sparse_file(tmp_path: Path) -> None:
    base = archive(tmp_path / "base.tar", [sparse(tmp_path)])
    assert nixdock.verify_image(base, strict=True).problems == ()
    expected = {"log": bytes(2_000_000) + b"x" + bytes(999_999)}
    assert files_of(base, tmp_path) == expected
    built = build(base, tmp_path / "built")
    assert files_of(built, tmp_path) == {**expected, "own/file": b""}


def with_layer(path: Path, blob: bytes, tar: bytes = PLAIN) -> Path:
    """Write a docker-archive with one layer, which is stored as `blob`."""
    diff_id = f"sha256:{sha256(tar).hexdigest()}"
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    manifest = [{"Config": "config.json", "RepoTags": ["x:y"], "Layers": ["l"]}]
    files: list[tuple[str, bytes]] = [
        ("config.json", json.dumps(config).encode()),
        ("l", blob),
        ("manifest.json", json.dumps(manifest).encode()),
    ]
    with tarfile.open(path, "w") as out:
        for name, data in files:
            out.addfile(entry(name, size=len(data)), io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (lzma.compress(PLAIN), "the layer is compressed with xz: Docker and Podman read it, but"),
        (bz2.compress(PLAIN), "the layer is compressed with bzip2: Docker and Podman read it, but"),
        (gzip.compress(PLAIN, mtime=0) + bytes(700), "NUL bytes follow the gzip data"),
    ],
    ids=["xz", "bzip2", "NULs"],
)
def test_compression(tmp_path: Path, blob: bytes, message: str) -> None:
    check(with_layer(tmp_path / "base.tar", blob), tmp_path, {"a": b"x"}, message)


@pytest.mark.parametrize(
    ("compress", "warned"),
    [(bz2.compress, False), (lambda data: gzip.compress(data, mtime=0) + bytes(512), True)],
)
def test_whole_archives(tmp_path: Path, compress: object, warned: bool) -> None:
    base = archive(tmp_path / "base.tar", [PLAIN])
    assert callable(compress)
    base.write_bytes(compress(base.read_bytes()))
    found = nixdock.verify_image(base)
    assert found.problems == ()
    assert bool(found.warnings) == warned
    assert files_of(build(base, tmp_path / "built"), tmp_path) == {"a": b"x", "own/file": b""}


@pytest.mark.parametrize("end", [b"x" + bytes(700), bytes(700) + b"x"])
def test_other_bytes_behind_gzip_are_refused(tmp_path: Path, end: bytes) -> None:
    base = with_layer(tmp_path / "base.tar", gzip.compress(PLAIN, mtime=0) + end)
    assert nixdock.verify_image(base).problems
    with pytest.raises(ImageError, match="the gzip data is damaged"):
        files_of(base, tmp_path)


OCI = "application/vnd.oci.image"


class Layout:
    """An OCI layout to which blobs are added."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs/sha256").mkdir(parents=True)
        (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, media_type: str, data: bytes) -> dict[str, object]:
        digest = sha256(data).hexdigest()
        (self.root / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def manifest(self, config: dict[str, object], *layers: dict[str, object]) -> dict[str, object]:
        document = {"schemaVersion": 2, "config": config, "layers": layers}
        return self.blob(f"{OCI}.manifest.v1+json", json.dumps(document).encode())

    def image(self, tar: bytes, *layers: dict[str, object]) -> dict[str, object]:
        diff_ids = [f"sha256:{sha256(tar).hexdigest()}"]
        platform = {"os": "linux", "architecture": "amd64"}
        config = {**platform, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        data = json.dumps(config).encode()
        return self.manifest(self.blob(f"{OCI}.config.v1+json", data), *layers)

    def index(self, *manifests: dict[str, object]) -> Path:
        document = {"schemaVersion": 2, "manifests": manifests}
        (self.root / "index.json").write_text(json.dumps(document))
        return self.root


@pytest.mark.parametrize(
    ("blob", "declared", "message"),
    [
        (
            gzip.compress(PLAIN, mtime=0),
            "tar",
            "layer.v1.tar', but the compression is gzip: Docker, Podman",
        ),
        (PLAIN, "tar+gzip", "layer.v1.tar+gzip', but the compression is none: Docker, Podman and"),
    ],
    ids=["gzip", "none"],
)
def test_media_types(tmp_path: Path, blob: bytes, declared: str, message: str) -> None:
    layout = Layout(tmp_path / "base")
    base = layout.index(layout.image(PLAIN, layout.blob(f"{OCI}.layer.v1.{declared}", blob)))
    check(base, tmp_path, {"a": b"x"}, message)
    built = json.loads((tmp_path / "built/index.json").read_text())["manifests"][0]
    manifest = json.loads(
        (tmp_path / "built/blobs/sha256" / built["digest"].partition(":")[2]).read_text()
    )
    true = "tar" if blob is PLAIN else "tar+gzip"
    assert manifest["layers"][0]["mediaType"] == f"{OCI}.layer.v1.{true}", "it is corrected"


def test_artifacts_beside_an_image(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "base")
    other = layout.manifest(layout.blob("application/vnd.cncf.helm.config.v1+json", b"{}"))
    signature = layout.image(
        b"{}", layout.blob("application/vnd.dev.cosign.simplesigning.v1", b"{}")
    )
    image = layout.image(PLAIN, layout.blob(f"{OCI}.layer.v1.tar", PLAIN))
    base = layout.index(other, signature, image)
    assert nixdock.verify_image(base).problems == ()
    assert files_of(build(base, tmp_path / "built"), tmp_path) == {"a": b"x", "own/file": b""}
    alone = Layout(tmp_path / "alone")
    path = alone.index(alone.manifest(alone.blob("application/x", b"{}")))
    with pytest.raises(ImageError, match="'application/x' is not that of an image's config"):
        files_of(path, tmp_path)


def test_a_directory_of_skopeo(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("Directory Transport Version: 1.1\n")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError) as error:
        nixdock.inspect_image(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} is an image in the form of skopeo's dir: transport, which nixdock does not"
        f" read; convert it with `skopeo copy dir:{tmp_path} oci:NEW:TAG`"
    )


def test_an_archive_without_directories(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "base")
    root = layout.index(layout.image(PLAIN, layout.blob(f"{OCI}.layer.v1.tar", PLAIN)))
    files: list[File] = [
        (str(path.relative_to(root)), path.read_bytes().decode())
        for path in sorted(root.rglob("*"))
        if path.is_file()
    ]
    path = tmp_path / "base.tar"
    path.write_bytes(layer(*files))
    found = nixdock.verify_image(path)
    assert found.problems == ()
    assert [str(warning) for warning in found.warnings] == [
        f"archive: warning: there is no entry for {name}/, without which only root can unpack it in"
        " skopeo"
        for name in ("blobs", "blobs/sha256")
    ]
    path.write_bytes(layer(directory("blobs"), directory("blobs/sha256"), *files))
    assert nixdock.verify_image(path).warnings == ()
