"""Verifying: good images pass in every format, and each problem is reported."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nixdock.errors import ImageError, InputError
from nixdock.face.images import verify_image
from nixdock.layers.hashed import HashedReader
from nixdock.read import verify as verifying
from nixdock.read.check_layer import check_layer
from nixdock.read.opening import open_image
from nixdock.read.verify import verify

Files = dict[str, bytes]
Edit = Callable[[Any], object]

LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI = "application/vnd.oci.image"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def blob(data: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def member(name: str, **values: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(info, key, value)
    return info


def tar(*members: tarfile.TarInfo | str, **kwargs: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, **kwargs) as archive:
        for item in members:
            info = member(item) if isinstance(item, str) else item
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return out.getvalue()


def descriptor(kind: str, data: bytes, **more: object) -> dict[str, Any]:
    media_type = kind if "/" in kind else f"{OCI}.{kind}"
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


NAMES = {
    "org.opencontainers.image.ref.name": "v1",
    "io.containerd.image.name": "docker.io/x/y:v1",
}
TARS = [tar("a", "b/"), tar(member("c", size=2000))]


def image(
    layers: list[bytes] | None = None,
    *,
    config: Edit = lambda _: None,
    manifest: Edit = lambda _: None,
    index: Edit = lambda _: None,
    docker: Edit = lambda _: None,
    media_type: str = LAYER,
) -> Files:
    """Return the files of an archive that is a layout and a docker-archive.

    Each edit changes a document before its digest is computed.
    """
    layers = TARS if layers is None else layers
    unpacked = [gzip.decompress(x) if x.startswith(b"\x1f\x8b") else x for x in layers]
    config_document: dict[str, Any] = {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:01Z",
        "rootfs": {"type": "layers", "diff_ids": [digest(x) for x in unpacked]},
        "history": [{"created_by": "test"} for _ in layers],
    }
    config(config_document)
    config_data = encoded(config_document)
    manifest_document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": descriptor("config.v1+json", config_data),
        "layers": [descriptor(media_type, x) for x in layers],
    }
    manifest(manifest_document)
    manifest_data = encoded(manifest_document)
    platform = {"architecture": "amd64", "os": "linux"}
    index_document: dict[str, Any] = {
        "schemaVersion": 2,
        "manifests": [
            descriptor("manifest.v1+json", manifest_data, annotations={**NAMES}, platform=platform)
        ],
    }
    index(index_document)
    docker_document = [
        {"Config": blob(config_data), "RepoTags": ["x/y:v1"], "Layers": [blob(x) for x in layers]}
    ]
    docker(docker_document)
    return {
        "oci-layout": encoded({"imageLayoutVersion": "1.0.0"}),
        "index.json": encoded(index_document),
        "manifest.json": encoded(docker_document),
        **{blob(data): data for data in (config_data, manifest_data, *layers)},
    }


def without(files: Files, *names: str) -> Files:
    return {name: data for name, data in files.items() if name not in names}


def docker_only(files: Files) -> Files:
    return without(files, "oci-layout", "index.json")


def as_tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            archive.addfile(member(name, size=len(data)), io.BytesIO(data))
    return out.getvalue()


def put(tmp_path: Path, files: Files) -> Path:
    path = tmp_path / "image.tar"
    path.write_bytes(as_tar(files))
    return path


def problems(path: Path) -> list[str]:
    return [str(problem) for problem in verify(partial(open_image, path), cores=1).problems]


def check(tmp_path: Path, files: Files, *expected: str) -> None:
    """Assert that these problems are found and no others, in an archive and in a directory."""
    directory = tmp_path / "image"
    for name, data in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    for path in (put(tmp_path, files), directory):
        found = problems(path)
        assert len(found) == len(expected), found
        for problem, part in zip(found, expected, strict=True):
            assert part in problem


def test_good(tmp_path: Path) -> None:
    check(tmp_path, image())


@pytest.mark.parametrize(
    "files",
    [
        image([]),
        image(config=lambda c: c.pop("history")),
        image(config=lambda c: c["history"].append({"empty_layer": True})),
        image([gzip.compress(TARS[0]), TARS[0]], manifest=lambda m: m["layers"][0].update(
            mediaType=f"{LAYER}+gzip")),
        image(manifest=lambda m: m.update(annotations={"x": "y"}, unknown=1)),
        docker_only(image()),
        docker_only(image(docker=lambda d: d[0].update(RepoTags=None))),
        docker_only(image([gzip.compress(TARS[0])])),
        without(image(), "manifest.json"),
    ],
)  # fmt: skip
def test_good_but_unusual(tmp_path: Path, files: Files) -> None:
    check(tmp_path, files)


@pytest.mark.parametrize("files", [image(), docker_only(image())])
def test_bytes_that_are_not_compressed_are_hashed_once(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, hashed = HashedReader.readinto, []

    def readinto(self: HashedReader, buffer: Any) -> int:
        hashed.append(read(self, buffer))
        return hashed[-1]

    monkeypatch.setattr(HashedReader, "readinto", readinto)
    with open_image(put(tmp_path, files)) as file:
        for layer in file.images[0].layers:
            assert check_layer(layer).problems == []
    assert sum(hashed) == sum(map(len, TARS))


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]


def replaced(files: Files, name: str, data: bytes) -> Files:
    return files | {name: data}


GZIPPED = gzip.compress(TARS[0])

BROKEN: dict[str, tuple[Files, list[str]]] = {
    "a byte of a layer": (
        replaced(image(), blob(TARS[1]), flipped(TARS[1], 700)),
        ["the layer's diff_id is", "is damaged: its digest is"],
    ),
    "a header of a layer": (
        replaced(image(), blob(TARS[1]), flipped(TARS[1], 3)),
        ["wrong checksum", "the layer's diff_id is", "is damaged"],
    ),
    "the config": (
        image() | {blob(x): x + b" " for x in image().values() if b"rootfs" in x},
        ["bytes, but should have", "config: the blob sha256:", "Config: the config blobs/sha256/"],
    ),
    "size of a layer": (
        image(manifest=lambda m: m["layers"][0].update(size=1)),
        ["bytes, but should have 1"],
    ),
    "negative size": (
        image(manifest=lambda m: m["layers"][0].update(size=-1)),
        ["the size is -1", "the layers are not those"],
    ),
    "size of a manifest": (
        image(index=lambda i: i["manifests"][0].update(size=5)),
        ["index.json: manifests[0]: the blob"],
    ),
    "swapped diff_ids": (
        image(config=lambda c: c["rootfs"]["diff_ids"].reverse()),
        ["layer 1 of", "layer 2 of"],
    ),
    "too few diff_ids": (
        image(config=lambda c: c["rootfs"]["diff_ids"].pop()),
        ["the config has 1 diff_id, but the manifest lists 2 layers"] * 2
        + ["the history has entries for 2 layers, but the config has 1 diff_id"] * 2,
    ),
    "a diff_id that is none": (
        image(config=lambda c: c["rootfs"]["diff_ids"].__setitem__(0, "sha256:XY")),
        ["diff_ids[0]: 'sha256:XY' is not a digest"] * 2,
    ),
    "rootfs": (
        image(config=lambda c: c["rootfs"].update(type="layer")),
        ["rootfs.type is 'layer'"] * 2,
    ),
    "history too short": (
        without(image(config=lambda c: c["history"].pop()), "manifest.json"),
        ["the history has entries for 1 layer, but the config has 2 diff_ids"],
    ),
    "history of empty layers": (
        without(image(config=lambda c: c["history"][0].update(empty_layer=True)), "manifest.json"),
        ["the history has entries for 1 layer, but the config has 2 diff_ids"],
    ),
    "no architecture, bad time": (
        docker_only(image(config=lambda c: c.update(architecture="", created="yesterday"))),
        ["the config has no architecture", "'yesterday'"],
    ),
    "platform": (
        image(index=lambda i: i["manifests"][0]["platform"].update(architecture="arm64")),
        ["the image is for linux/amd64, but its descriptor says linux/arm64"],
    ),
    "digest with a path": (
        without(image(manifest=lambda m: m["layers"][0].update(digest="sha256:../../../etc/x")),
                "manifest.json"),
        ["'sha256:../../../etc/x' is not a digest"],
    ),
    "manifest digest with a path": (
        without(image(index=lambda i: i["manifests"][0].update(digest="sha256:../../x")),
                "manifest.json"),
        ["'sha256:../../x' is not a digest"],
    ),
    "duplicate key": (
        without(replaced(image(), "index.json",
                         image()["index.json"][:-1] + b', "manifests": []}'), "manifest.json"),
        ["the key 'manifests' appears twice"],
    ),
    "index and manifest at once": (
        without(image(manifest=lambda m: m.update(manifests=[])), "manifest.json"),
        ["has both manifests and layers"],
    ),
    "missing layer": (
        without(image(), blob(TARS[0])),
        ["is missing", "Layers[0]: blobs/sha256/"],
    ),
    "missing manifest": (
        without(image(index=lambda i: i["manifests"][0].update(digest="sha256:" + "0" * 64)),
                "manifest.json"),
        ["the blob sha256:000"],
    ),
    "unknown layer type": (
        image(media_type="application/zip"),
        ["'application/zip' is not that of a layer"] * 2,
    ),
    "bytes behind gzip": (
        docker_only(image([GZIPPED])) | {blob(GZIPPED): GZIPPED + b"x"},
        ["gzip data", "is damaged: its digest"],
    ),
    "config type": (
        without(image(manifest=lambda m: m["config"].update(mediaType="application/json")),
                "manifest.json"),
        ["the config's media type 'application/json'"],
    ),
    "manifest type": (
        image(manifest=lambda m: m.update(mediaType=f"{OCI}.index.v1+json")),
        ["the document is a manifest, but its media type"],
    ),
    "manifest type in the index": (
        image(index=lambda i: i["manifests"][0].update(
            mediaType="application/vnd.docker.distribution.manifest.v2+json")),
        ["but the descriptor says"],
    ),
    "schema version": (
        image(manifest=lambda m: m.update(schemaVersion=1)),
        ["schemaVersion is 1, not 2"],
    ),
    "layout version": (
        replaced(image(), "oci-layout", b'{"imageLayoutVersion":"2.0.0"}'),
        ["imageLayoutVersion is '2.0.0'"],
    ),
    "no marker": (without(image(), "oci-layout"), ["oci-layout: oci-layout is missing"]),
    "reference name": (
        image(index=lambda i: i["manifests"][0].update(
            annotations={"org.opencontainers.image.ref.name": "-v1"})),
        ["RepoTags are ['x/y:v1'], but index.json says '-v1'", "'-v1' is not a valid org.opencont"],
    ),
    "tag": (
        docker_only(image(docker=lambda d: d[0].update(RepoTags=["X/y:v1", "x", "../x:1"]))),
        ["'X/y:v1' is not NAME:TAG", "'x' is not", "'../x:1' is not"],
    ),
    "other tag": (
        image(docker=lambda d: d[0].update(RepoTags=["x/z:v1"])),
        ["RepoTags are ['x/z:v1'], but index.json says 'x/y:v1'"],
    ),
    "layers in another order": (
        image(docker=lambda d: d[0]["Layers"].reverse()),
        ["Layers[0] is another file", *["the diff_id is"] * 2],
    ),
    "other config": (
        image() | {"manifest.json": image(config=lambda c: c.update(os="plan9"))["manifest.json"]}
        | {blob(x): x for x in image(config=lambda c: c.update(os="plan9")).values()
           if b"plan9" in x and b"rootfs" in x},
        ["index.json does not lead to the config", "manifest.json does not list the config"],
    ),
    "layer leads upwards": (
        docker_only(image(docker=lambda d: d[0].update(Layers=["../../etc/passwd"] * 2))),
        ["contains '..'"] * 2,
    ),
    "config leads upwards": (
        docker_only(image(docker=lambda d: d[0].update(Config="../x"))),
        ["contains '..'"],
    ),
    "missing config": (
        docker_only(image(docker=lambda d: d[0].update(Config="x"))),
        ["x is missing"],
    ),
    "config not of its name": (
        docker_only(image(docker=lambda d: d[0].update(Config="0" * 64 + ".json")))
        | {"0" * 64 + ".json": next(x for x in image().values() if b"rootfs" in x)},
        [f"the config {'0' * 64}.json is damaged"],
    ),
    "126 layers": (
        docker_only(image([tar(f"f{i}") for i in range(126)])),
        ["126 layers, but Docker and Podman run at most 125"],
    ),
    "1001 descriptors": (
        without(image(manifest=lambda m: m.update(layers=m["layers"][:1] * 1001)), "manifest.json"),
        ["more than 1000 descriptors"],
    ),
    "control characters": (
        docker_only(image(docker=lambda d: d[0].update(RepoTags=["\x1b[31m\nok: x"]))),
        [r"'\x1b[31m\nok: x' is not NAME:TAG"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken(tmp_path: Path, name: str) -> None:
    files, expected = BROKEN[name]
    check(tmp_path, files, *expected)


def test_a_blob_that_nothing_refers_to_is_a_warning(tmp_path: Path) -> None:
    path = put(tmp_path, image() | {blob(b"x"): b"x"})
    found = verify(partial(open_image, path))
    message = f"{blob(b'x')}: warning: nothing refers to this blob"
    assert message in map(str, found.warnings)
    assert found.problems == ()
    found = verify(partial(open_image, path), strict=True)
    assert message.replace("warning: ", "") in map(str, found.problems)


# Problems with which an image can still be read.
HARMLESS = ("history", "no arch", "126", "platform", "tag", "control")


@pytest.mark.parametrize("name", [name for name in BROKEN if not name.startswith(HARMLESS)])
def test_broken_images_are_not_opened_or_read(tmp_path: Path, name: str) -> None:
    files, _ = BROKEN[name]
    with pytest.raises(ImageError), open_image(put(tmp_path, files)) as file:
        for image in file.images:
            for layer in image.layers:
                with layer.open_tar() as stream:
                    stream.read()


LINK = tarfile.LNKTYPE
SYMLINK = tarfile.SYMTYPE


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (tar("a/b", "./a//b"), "'a/b' appears twice"),
        (tar("../a"), "'../a' contains '..'"),
        (tar(member("l", type=LINK, linkname="f"), "f"), "hard link 'l' is to 'f', which is not"),
        (tar(member("l", type=LINK, linkname="gone")), "'gone', which is not an earlier file"),
        (tar("d/", member("l", type=LINK, linkname="../d")), "invalid target"),
        (tar(member("d", type=tarfile.DIRTYPE), member("l", type=LINK, linkname="d")), "not an"),
        (tar(member("s", type=SYMLINK)), "'s' has no target"),
        (tar(member("s", type=SYMLINK, linkname="/etc"), "s/x/passwd"), "below 's', which does"),
        (tar("a/b", "a"), "'a' is a file, but earlier members"),
        (tar(member("d/.wh.x", size=1)), "'d/.wh.x' is a whiteout, but not an empty file"),
        (tar(member(".wh.x", type=SYMLINK, linkname="y")), "but not an empty file"),
        (tar(".wh."), "whiteout of nothing"),
        (tar(".wh..."), "whiteout of nothing"),
        (tar("a", pax_headers={"comment": "x"}), "PAX global header"),
        (tar("a" * 256), "too long for a file system"),
        (tar("a")[:-1024], None),
        (tar("a")[:1024], None),
        (tar("a") + b"x", "non-zero bytes after its end-of-archive marker"),
        (tar(member("a", size=2000))[:1024], "in the middle of 'a'"),
    ],
)  # fmt: skip
def test_layers_that_runtimes_disagree_on(
    tmp_path: Path, layer: bytes, message: str | None
) -> None:
    for packed, media_type in ((layer, LAYER), (gzip.compress(layer), f"{LAYER}+gzip")):
        found = problems(put(tmp_path, image([packed], media_type=media_type)))
        if message is None:
            assert found == []
        else:
            assert len(found) == 1
            assert message in found[0]


def test_good_layers(tmp_path: Path) -> None:
    layer = tar(
        member("./", type=tarfile.DIRTYPE),
        "a",
        member("l", type=LINK, linkname="./a"),
        ".wh.x",
        "b/.wh..wh..opq",
        member(".wh..wh.plnk", type=tarfile.DIRTYPE),
        "x\n",
    )
    assert problems(put(tmp_path, image([layer]))) == []


def test_many_problems_are_only_counted(tmp_path: Path) -> None:
    found = problems(put(tmp_path, image([tar(*[f"f{i % 60}" for i in range(120)])])))
    assert len(found) == 21
    assert found[-1].endswith("and 40 more problems")


def test_a_truncated_archive(tmp_path: Path) -> None:
    path = put(tmp_path, image())
    data = path.read_bytes()
    for size in (513, 3000, len(data) // 2, len(data) - 10240):
        path.write_bytes(data[:size])
        message = f"archive: {path} is malformed at byte"
        assert any(problem.startswith(message) for problem in problems(path))
        with pytest.raises(ImageError), open_image(path):
            pass


@pytest.mark.parametrize("size", [100, 300])
def test_a_truncated_compressed_archive(tmp_path: Path, size: int) -> None:
    path = tmp_path / "image.tar.gz"
    path.write_bytes(gzip.compress(as_tar(image()))[:-size])
    left = path.stat().st_size
    message = f"archive: {path}: the gzip data is truncated: it ends after {left} bytes"
    assert message in problems(path)
    with pytest.raises(ImageError), open_image(path):
        pass


def test_a_member_twice_in_the_archive(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in [*image().items(), ("./index.json", b"{}")]:
            archive.addfile(member(name, size=len(data)), io.BytesIO(data))
    path = tmp_path / "image.tar"
    path.write_bytes(out.getvalue())
    assert problems(path) == ["archive: the file 'index.json' appears twice"]


def test_links_in_the_archive(tmp_path: Path) -> None:
    files = docker_only(image(docker=lambda d: d[0].update(Layers=["1/layer.tar", "2/layer.tar"])))
    first, second = blob(TARS[0]), blob(TARS[1])

    def write(target: str) -> Path:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for name, data in files.items():
                archive.addfile(member(name, size=len(data)), io.BytesIO(data))
            archive.addfile(member("1/layer.tar", type=SYMLINK, linkname=f"../{first}"))
            archive.addfile(member("2/layer.tar", type=LINK, linkname=target))
        path = tmp_path / "image.tar"
        path.write_bytes(out.getvalue())
        return path

    assert problems(write(second)) == []
    for target in ("1/layer.tar", "2/layer.tar", "/etc/passwd", "../../etc/passwd"):
        (found,) = [x for x in problems(write(target)) if "Layers[1]" in x]
        assert "which is not a file in the archive" in found


def test_a_link_out_of_a_directory(tmp_path: Path) -> None:
    files = image()
    directory = tmp_path / "image"
    for name, data in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    outside = tmp_path / "outside"
    (directory / blob(TARS[0])).rename(outside)
    (directory / blob(TARS[0])).symlink_to(outside)
    assert any("is missing" in problem for problem in problems(directory))


def nested(depth: int) -> Files:
    files = image()
    for _ in range(depth):
        inner = files["index.json"]
        outer = {"schemaVersion": 2, "manifests": [descriptor("index.v1+json", inner)]}
        files = files | {"index.json": encoded(outer), blob(inner): inner}
    return files


def test_nested_indexes(tmp_path: Path) -> None:
    assert problems(put(tmp_path, nested(3))) == []
    assert any("index within 4 others" in x for x in problems(put(tmp_path, nested(4))))


def test_how_many_descriptors_a_layout_has(tmp_path: Path) -> None:
    many = without(image(index=lambda i: i.update(manifests=i["manifests"] * 400)), "manifest.json")
    assert problems(put(tmp_path, many)) == []
    more = without(
        image(index=lambda i: i.update(manifests=i["manifests"] * 1001)), "manifest.json"
    )
    assert problems(put(tmp_path, more)) == [
        "index.json: the layout has more than 1000 descriptors in one document"
    ]


def test_an_index_with_one_platform_copied(tmp_path: Path) -> None:
    gone = descriptor(
        "manifest.v1+json", b"gone", platform={"architecture": "s390x", "os": "linux"}
    )
    files = without(image(index=lambda i: i["manifests"].append(gone)), "manifest.json")
    assert any("is missing" in problem for problem in problems(put(tmp_path, files)))
    inner = files["index.json"]
    outer = {"schemaVersion": 2, "manifests": [descriptor("index.v1+json", inner)]}
    files = files | {"index.json": encoded(outer), blob(inner): inner}
    assert problems(put(tmp_path, files)) == []


def test_attestations_are_checked_as_blobs_only(tmp_path: Path) -> None:
    statement = b'{"_type":"https://in-toto.io/Statement/v1"}'
    config = encoded({"architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers"}})
    manifest = encoded({
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": descriptor("config.v1+json", config),
        "layers": [descriptor("application/vnd.in-toto+json", statement)],
    })  # fmt: skip
    note = {"vnd.docker.reference.type": "attestation-manifest"}
    files = image(index=lambda i: i["manifests"].append(
        descriptor("manifest.v1+json", manifest, annotations=note)))  # fmt: skip
    files |= {blob(data): data for data in (statement, config, manifest)}
    assert problems(put(tmp_path, files)) == []
    files[blob(statement)] = b"x"
    (size, damaged) = problems(put(tmp_path, files))
    assert "should have 43" in size
    assert "is damaged" in damaged


def test_documents_in_all_are_bounded(tmp_path: Path) -> None:
    config = encoded({"rootfs": {"type": "layers"}, "pad": "x" * (3 << 20)})
    entries: list[dict[str, object]] = [{"Config": "c"}] * 25
    found = problems(put(tmp_path, {"c": config, "manifest.json": encoded(entries)}))
    assert any("may have at most" in problem for problem in found)
    entries = [{"Config": "c", "Layers": ["x"] * 5001}] * 2
    found = problems(put(tmp_path, {"c": config, "manifest.json": encoded(entries)}))
    assert len(found) == 1
    assert "2 images and 10002 layers, but at most" in found[0]


@pytest.mark.parametrize("data", [b"", b"hello" * 200, bytes(100), b"\x7fELF" + bytes(600)])
def test_not_an_image(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(InputError, match="is not an image"):
        verify_image(path)


def test_nothing_there_and_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        verify_image(tmp_path / "x")
    with pytest.raises(InputError, match="is not an image: it has neither"):
        verify_image(tmp_path)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data(), st.booleans())
def test_damage_is_found_and_never_a_crash(
    tmp_path: Path, draw: st.DataObject, compressed: bool
) -> None:
    layers = [gzip.compress(x, mtime=0) for x in TARS] if compressed else TARS
    data = bytearray(as_tar(image(layers, media_type=f"{LAYER}+gzip" if compressed else LAYER)))
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    path = tmp_path / "image.tar"
    path.write_bytes(data)
    try:
        problems(path)
    except InputError:
        assert data[257:262] != b"ustar" or b"json" not in data


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.mark.slow
@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data(), st.sampled_from(["config", "manifest", "index", "docker"]))
def test_strange_documents_are_never_a_crash(
    tmp_path: Path, draw: st.DataObject, which: str
) -> None:
    def edit(document: Any) -> None:
        """Replace one value by a strange one."""
        while True:
            keys = list(range(len(document)) if isinstance(document, list) else document)
            key = draw.draw(st.sampled_from(keys))
            below = document[key]
            if not (isinstance(below, list | dict) and below) or draw.draw(st.booleans()):
                document[key] = draw.draw(values)
                return
            document = below

    edits: dict[str, Edit] = {which: edit}
    path = put(tmp_path, image(**edits))  # type: ignore[arg-type]
    problems(path)
    try:
        with open_image(path):
            pass
    except ImageError as error:
        assert str(error).isprintable()


def test_no_problem_names_the_image(tmp_path: Path) -> None:
    """It is known which image is verified; the layers are read again to be merged."""
    layers = [gzip.compress(TARS[0]), gzip.compress(tar("d/f"))]
    good = image(layers, media_type=f"{LAYER}+gzip")
    bad = image(
        layers,
        media_type=f"{LAYER}+gzip",
        manifest=lambda m: m["layers"][1].update(mediaType="application/x-unknown"),
    )
    both = json.loads(good["index.json"])
    both["manifests"] += json.loads(bad["index.json"])["manifests"]
    both["manifests"][1]["annotations"] = {}
    files = without(good | bad | {"index.json": encoded(both)}, "manifest.json")
    path = put(tmp_path, files)
    found = problems(path)
    unknown = [each for each in found if "the media type 'application/x-unknown'" in each]
    assert [each.partition(" of ")[0] for each in unknown] == ["layer 2"]
    assert not [each for each in found if str(path) in each]


def test_the_same_layers_are_merged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    merged: list[tuple[object, ...]] = []

    def note(layers: tuple[object, ...]) -> Sequence[object]:
        merged.append(layers)
        return ()

    monkeypatch.setattr(verifying, "check_merging", note)
    files = docker_only(image([tar("a"), tar("d/f")]))
    (entry,) = json.loads(files["manifest.json"])
    shorter = json.loads(files[entry["Config"]])
    shorter["rootfs"]["diff_ids"].pop(0)
    shorter["history"].pop(0)
    files = files | {"other.json": encoded(shorter)}
    other = entry | {"Config": "other.json", "Layers": entry["Layers"][1:]}
    images = [each | {"RepoTags": [f"x:{i}"]} for i, each in enumerate([entry, other] * 20)]
    path = put(tmp_path, files | {"manifest.json": encoded(images)})
    assert not problems(path)
    assert [len(layers) for layers in merged] == [2, 1]


@pytest.mark.parametrize("data", ["e30=", "", "not base64!", "e30"])
@pytest.mark.parametrize("key", ["config", "layers"])
def test_embedded_data_that_is_another_blob(tmp_path: Path, key: str, data: str) -> None:
    """Some readers take the data in place of the blob (image-spec, descriptor.md)."""

    def edit(document: dict[str, Any]) -> None:
        found = document[key]
        (found if key == "config" else found[0])["data"] = data

    (found,) = problems(put(tmp_path, image(manifest=edit)))
    assert "the data in the descriptor is not the blob sha256:" in found
    assert found.startswith("manifest" if key == "config" else "layer 1 of manifest")


def test_embedded_data(tmp_path: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["layers"][0]["data"] = base64.b64encode(TARS[0]).decode()

    assert not problems(put(tmp_path, image(manifest=edit)))
