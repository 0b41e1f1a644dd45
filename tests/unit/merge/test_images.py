"""Merging the images of several files into one docker-archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from click.testing import CliRunner, Result

from nixdock.cli import main
from nixdock.errors import InputError
from nixdock.face.images import verify_image
from nixdock.layers.compression import Compression
from nixdock.merge.images import compression_like
from nixdock.oci.location import FileLocation
from nixdock.read.opening import open_image
from tests.unit.docker_archive import archive, entry, layer

ONE, TWO, THREE = (layer((name, name)) for name in ("one", "two", "three"))


def named(path: Path, names: Sequence[str], *layers: bytes, **options: Any) -> Path:
    """Write a docker-archive of one image with `names`."""
    archive(path, layers, **options)
    out = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            file = old.extractfile(member)
            assert file is not None
            data = file.read()
            if member.name == "manifest.json":
                data = json.dumps([{**json.loads(data)[0], "RepoTags": list(names)}]).encode()
                member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    path.write_bytes(out.getvalue())
    return path


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["merge", *map(str, args)])


def merged(tmp_path: Path, *images: Path, options: Sequence[str] = ()) -> Path:
    target = tmp_path / "merged"
    done = run(*images, "-o", target, *options)
    assert done.exit_code == 0, (done.output, done.exception)
    return target


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        files = ((member.name, tar.extractfile(member)) for member in tar if member.isreg())
        return {name: file.read() for name, file in files if file is not None}


def manifest(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(members(path)["manifest.json"])
    return found


def tags(path: Path) -> list[list[str] | None]:
    return [entry["RepoTags"] for entry in manifest(path)]


def ids(path: Path) -> list[str]:
    with open_image(path) as file:
        return [image.config_digest for image in file.images]


def hexes(*layers: bytes) -> list[str]:
    return [hashlib.sha256(data).hexdigest() for data in layers]


def test_images_are_in_order_and_share_layers(tmp_path: Path) -> None:
    a = named(tmp_path / "a", ["a:1", "a:2"], ONE, TWO)
    b = named(tmp_path / "b", ["host:5/b:1"], ONE, THREE)
    target = merged(tmp_path, a, b)
    assert tags(target) == [["a:1", "a:2"], ["host:5/b:1"]]
    one, two, three = (f"{name}.tar" for name in hexes(ONE, TWO, THREE))
    assert [entry["Layers"] for entry in manifest(target)] == [[one, two], [one, three]]
    found = members(target)
    assert list(found)[:3] == [one, two, three]
    assert (found[one], found[two], found[three]) == (ONE, TWO, THREE)
    assert ids(target) == [*ids(a), *ids(b)], "configs are unchanged"
    assert verify_image(target).problems == ()


def test_equal_images_become_one_with_all_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a = named(tmp_path / "a", ["x:1"], ONE)
    b = named(tmp_path / "b", ["x:2", "x:1"], ONE, compress=True)
    assert tags(merged(tmp_path, a, b)) == [["x:1", "x:2"]]
    assert caplog.text == ""


def test_the_last_image_keeps_a_name_that_several_have(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a = named(tmp_path / "a", ["x:1", "x:2"], ONE)
    b = named(tmp_path / "b", ["x:1"], TWO)
    target = merged(tmp_path, a, b)
    assert tags(target) == [["x:2"], ["x:1"]]
    assert caplog.messages == [f"x:1 is in {a} and in {b}; the last one keeps the name"]
    assert tags(merged(tmp_path, b, named(tmp_path / "c", ["x:1"], ONE))) == [None, ["x:1"]]


def test_names_that_docker_would_refuse_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a = named(tmp_path / "a", ["x:1", "UPPER:1", "no-tag", "two words:1"], ONE)
    assert tags(merged(tmp_path, a)) == [["x:1"]]
    assert [message.split("'")[1] for message in caplog.messages] == [
        *("UPPER:1", "no-tag", "two words:1"),
    ]


def test_images_without_names(tmp_path: Path) -> None:
    target = merged(tmp_path, named(tmp_path / "a", [], ONE), named(tmp_path / "b", [], TWO))
    assert tags(target) == [None, None]
    assert verify_image(target).problems == ()


def test_nothing_to_merge_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "merged"
    result = run("-o", target)
    assert isinstance(result.exception, InputError)
    assert str(result.exception) == "there is nothing to merge; name at least one image"
    assert not target.exists()


# Formats and compression.


@pytest.mark.slow
@pytest.mark.parametrize("form", ["archive", "docker-archive", "oci-archive", "oci-layout"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_every_form_is_merged(
    tmp_path: Path, sample_spec: Callable[..., Path], form: str, compression: str
) -> None:
    args = ["build", str(sample_spec(tmp_path)), "-q", "-o", str(tmp_path / "image")]
    args += ["--format", form, "--compression", compression]
    assert CliRunner().invoke(main, args).exit_code == 0
    other = named(tmp_path / "a", ["a:1"], ONE)
    target = merged(tmp_path, tmp_path / "image", other)
    assert tags(target) == [["x/y:v1"], ["a:1"]]
    assert ids(target) == [*ids(tmp_path / "image"), *ids(other)]
    assert verify_image(target).problems == ()
    layers = [members(target)[name] for name in manifest(target)[0]["Layers"]]
    assert not any(data.startswith(b"\x28\xb5\x2f\xfd") for data in layers), "Docker < 23 fails"


@pytest.mark.parametrize(
    ("compress", "compression"),
    [
        (bytes, Compression.NONE),
        (gzip.compress, Compression.GZIP),
        (zstd.compress, Compression.ZSTD),
        (lzma.compress, Compression.GZIP),
    ],
)
def test_it_is_compressed_like_the_last_file(
    tmp_path: Path, compress: Callable[[bytes], bytes], compression: Compression
) -> None:
    paths = []
    packs: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, zstd.compress, lzma.compress]
    for i, pack in enumerate([*packs, compress]):
        paths.append(named(tmp_path / f"{i}", [f"x:{i}"], layer((f"{i}", ""))))
        paths[-1].write_bytes(pack(paths[-1].read_bytes()))
    assert compression_like([*map(FileLocation, paths)]) is compression
    target = merged(tmp_path, *paths)
    assert compression_like([FileLocation(target)]) is compression
    with open_image(target) as file:
        assert [image.names for image in file.images] == [(f"x:{i}",) for i in range(5)]
    chosen = merged(tmp_path, *paths, options=["--compression", "none"])
    assert compression_like([FileLocation(chosen)]) is Compression.NONE


def legacy(path: Path, spec: Path) -> Path:
    args = ["build", str(spec), "-q", "--format", "docker-archive", "--legacy", "-o", str(path)]
    assert CliRunner().invoke(main, args).exit_code == 0
    return path


def test_repositories_are_joined(tmp_path: Path, sample_spec: Callable[..., Path]) -> None:
    """dockerTools would keep only the last file's tags of a repository that several files have."""
    a = legacy(tmp_path / "a", sample_spec(tmp_path, tag="1"))
    b = legacy(tmp_path / "b", sample_spec(tmp_path, tag="2", extra_commands=""))
    c = named(tmp_path / "c", ["c:1"], ONE)
    target = merged(tmp_path, a, b, c)
    found = members(target)
    repositories = json.loads(found["repositories"])
    assert sorted(repositories) == ["c", "x/y"]
    assert (sorted(repositories["x/y"]), sorted(repositories["c"])) == (["1", "2"], ["1"])
    for old in (a, b):
        ((repository, of),) = json.loads(members(old)["repositories"]).items()
        assert of.items() <= repositories[repository].items(), "the layers' IDs are the same"
    with tarfile.open(target) as tar:
        for top in (top for of in repositories.values() for top in of.values()):
            name = top
            while name:
                document = json.loads(found[f"{name}/json"])
                assert (document["id"], found[f"{name}/VERSION"]) == (name, b"1.0")
                layer_tar = tar.extractfile(f"{name}/layer.tar")
                assert layer_tar is not None
                assert layer_tar.read(10)
                name = document.get("parent", "")
    assert verify_image(target).problems == ()


def test_there_are_no_repositories_without_a_legacy_archive(tmp_path: Path) -> None:
    assert "repositories" not in members(merged(tmp_path, named(tmp_path / "a", ["a:1"], ONE)))


# Errors.


@pytest.mark.parametrize("which", [0, 1])
def test_a_layer_with_the_wrong_diff_id(tmp_path: Path, which: int) -> None:
    paths = [named(tmp_path / "a", ["a:1"], ONE), named(tmp_path / "b", ["b:1"], TWO)]
    contents = (b"one", b"two")[which]
    paths[which].write_bytes(paths[which].read_bytes().replace(contents, b"xxx"))
    done = run(*paths, "-o", tmp_path / "merged")
    assert "diff_id is sha256:" in str(done.exception)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_files_that_are_not_images(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    done = run(named(tmp_path / "a", ["a:1"], ONE), tmp_path / "text", "-o", tmp_path / "merged")
    assert str(done.exception).startswith(f"{tmp_path}/text is not an image")
    done = run(tmp_path / "gone", "-o", tmp_path / "merged")
    assert str(done.exception) == f"can't open {tmp_path}/gone: No such file or directory"
    assert not (tmp_path / "merged").exists()


def test_a_layout_without_images(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (empty / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    done = run(named(tmp_path / "a", ["a:1"], ONE), empty, "-o", tmp_path / "merged")
    assert str(done.exception) == f"{empty} has no images"
    assert not (tmp_path / "merged").exists()


def test_merging_a_merged_archive_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    paths = [named(tmp_path / "a", ["a:1"], ONE, TWO), named(tmp_path / "b", ["b:1"], TWO, ONE)]
    first = merged(tmp_path, *paths)
    once = tmp_path / "once"
    first.rename(once)
    assert merged(tmp_path, once).read_bytes() == once.read_bytes()


def test_an_index_for_several_platforms(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    layout = index_of(
        tmp_path / "index",
        "host/x:1",
        archive(tmp_path / "amd64", [ONE]),
        archive(tmp_path / "arm64", [TWO], architecture="arm64"),
    )
    assert tags(merged(tmp_path, layout)) == [["host/x:1"], None]
    assert caplog.messages == [
        f"{layout} has host/x:1 for several platforms; the first one keeps the name"
    ]


def index_of(path: Path, name: str, *images: Path) -> Path:
    """Write an OCI layout with an index of the images in docker-archives."""
    blobs = path / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(media_type: str, data: bytes, **keys: object) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        kind = f"application/vnd.oci.image.{media_type}"
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data), **keys}

    manifests = []
    for image in images:
        found = members(image)
        (described,) = json.loads(found["manifest.json"])
        config = json.loads(found[described["Config"]])
        platform = {"architecture": config["architecture"], "os": config["os"]}
        document = {
            "schemaVersion": 2,
            "config": blob("config.v1+json", found[described["Config"]]),
            "layers": [blob("layer.v1.tar", found[tar]) for tar in described["Layers"]],
        }
        data = json.dumps(document).encode()
        manifests.append(blob("manifest.v1+json", data, platform=platform))
    index = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
    annotations = {"io.containerd.image.name": name}
    top = {"schemaVersion": 2, "manifests": [blob("index.v1+json", index, annotations=annotations)]}
    (path / "index.json").write_text(json.dumps(top))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return path


def test_links_in_archives_are_followed(tmp_path: Path) -> None:
    """Old versions of Docker wrote equal layers as links to the first of them."""
    data = named(tmp_path / "a", ["a:1"], ONE, TWO).read_bytes()
    with (
        tarfile.open(fileobj=io.BytesIO(data)) as old,
        tarfile.open(tmp_path / "links", "w") as new,
    ):
        for member in old:
            file = old.extractfile(member)
            assert file is not None
            if member.name == "1/layer.tar":
                member.name = "real/layer.tar"
                link = entry("1/layer.tar", tarfile.SYMTYPE, linkname="../real/layer.tar")
                new.addfile(link)
            new.addfile(member, file)
    target = merged(tmp_path, tmp_path / "links")
    assert [members(target)[f"{name}.tar"] for name in hexes(ONE, TWO)] == [ONE, TWO]
