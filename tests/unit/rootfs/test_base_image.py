"""Base images: read in every format, passed on unchanged, and no store path added twice."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import logging
import lzma
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from nixdock.build.build import prepared_build, resolve_spec
from nixdock.errors import ImageError, InputError, PlanError
from nixdock.face.images import verify_image
from nixdock.layers.compression import Compression
from nixdock.layers.pack import pack_all
from nixdock.native.library import PACKER_VARIABLE
from nixdock.oci.container_config import ContainerConfig
from nixdock.oci.descriptor import Platform
from nixdock.oci.image import Image
from nixdock.oci.layout import Format
from nixdock.oci.location import FileLocation
from nixdock.read.opening import open_image
from nixdock.rootfs.base_image import inherit, merged_env, open_base_image
from nixdock.spec.reading import read_spec
from nixdock.write.image import write_image
from tests.unit.docker_archive import archive, directory, entry, layer, link

LIB, APP = f"/nix/store/{'0' * 32}-lib", f"/nix/store/{'1' * 32}-app"
HASH = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
LOWER = layer(directory("usr/bin"), link("bin", "usr/bin"), ("etc/os-release", "debian"))
UPPER = layer(("etc/.wh.os-release", ""), directory("tmp", mode=0o1777))

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a spec, over a store of two paths, and returns its file."""
    graph = [
        {"path": LIB, "narSize": 30, "references": [], "narHash": HASH},
        {"path": APP, "narSize": 20, "references": [LIB], "narHash": HASH},
    ]
    for path in (LIB, APP):
        file = Path(f"{tmp_path}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
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


def built(spec: Path, target: Path, form: Format = Format.OCI_LAYOUT) -> Image:
    with prepared_build(read_spec(spec)) as build:
        return write_image(build, target, form, Compression.NONE)


def config_of(image: Image) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(image.config.data)
    return config


def diff_ids(*layers: bytes) -> list[str]:
    return [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in layers]


def members(layer: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(layer) as tar:
        return {member.name: member for member in tar}


def base_archive(path: Path) -> Path:
    return archive(path, [LOWER, UPPER], config={"Env": ["A=1", "B=2"], "Cmd": ["sh"]})


def plain(path: Path) -> Path:
    return base_archive(path / "base.tar")


def compressed(compress: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        file = path / "base.tar.x"
        file.write_bytes(compress(plain(path).read_bytes()))
        return file

    return make


def zstd(data: bytes) -> bytes:
    from backports import zstd as module

    packed: bytes = module.compress(data)
    return packed


def gzip_layers(path: Path) -> Path:
    return archive(path / "base.tar", [LOWER, UPPER], compress=True, config={"Env": ["A=1", "B=2"]})


def with_links(path: Path) -> Path:
    """An archive as old versions of Docker wrote it: an equal layer is a link to the first."""
    data = plain(path).read_bytes()
    file = path / "links.tar"
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(file, "w") as new:
        for member in old:
            member.mode = 0o444
            if member.name != "0/layer.tar":
                new.addfile(member, old.extractfile(member))
                continue
            member.name = "real/layer.tar"
            new.addfile(member, old.extractfile(member))
            new.addfile(entry("0/layer.tar", tarfile.SYMTYPE, linkname="../real/layer.tar"))
    return file


def layout(path: Path, form: Format = Format.OCI_LAYOUT) -> Path:
    """The same layers as another tool's OCI image, here made from the docker-archive."""
    target = path / f"base-{form}"
    spec = path / "base-spec.json"
    spec.write_text(
        json.dumps(
            {
                "version": 1,
                "name": "base",
                "from_image": {"path": str(plain(path))},
                "store_layers": [],
            }
        )
    )
    with prepared_build(read_spec(spec)) as build:
        write_image(build, target, form, Compression.GZIP)
    return target


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        plain,
        compressed(gzip.compress),
        compressed(lzma.compress),
        compressed(zstd),
        gzip_layers,
        with_links,
        layout,
        lambda path: layout(path, Format.OCI_ARCHIVE),
    ],
)
@pytest.mark.parametrize("form", [Format.OCI_LAYOUT, Format.ARCHIVE, Format.DOCKER_ARCHIVE])
def test_layers_are_passed_on_from_every_form(
    write: Write, tmp_path: Path, make: Callable[[Path], Path], form: Format
) -> None:
    base = make(tmp_path)
    image = built(write(from_image={"path": str(base)}), tmp_path / "out", form)
    config = config_of(image)
    assert config["rootfs"]["diff_ids"][:2] == diff_ids(LOWER, UPPER)
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"])
    assert config["config"] == {"Env": ["A=1", "B=2"]}
    assert verify_image(tmp_path / "out").problems == ()
    with open_image(tmp_path / "out") as file, open_image(base) as old:
        for new_layer, old_layer in zip(file.images[0].layers, old.images[0].layers, strict=False):
            assert new_layer.open().read() == old_layer.open().read()


def test_zstd_layers_are_expanded_where_docker_would_not_know_them(
    write: Write, tmp_path: Path
) -> None:
    spec = write(from_image={"path": str(plain(tmp_path))}, closure=None, store_layers=[])
    with prepared_build(read_spec(spec)) as build:
        write_image(build, tmp_path / "zstd", Format.OCI_LAYOUT, Compression.ZSTD)
    # Only the third layer, its top layer, is compressed.
    base = tmp_path / "zstd"
    image = built(
        write(from_image={"path": str(base)}, closure=None, store_layers=[]),
        tmp_path / "out",
        Format.DOCKER_ARCHIVE,
    )
    assert len(image.layers) == 4
    assert verify_image(tmp_path / "out").problems == ()


def test_the_history_of_a_base_is_kept(write: Write, tmp_path: Path) -> None:
    history = [
        {"created": "2020-01-01T00:00:00Z", "created_by": "ADD rootfs", "author": "me"},
        {"created_by": "ENV A=1", "empty_layer": True},
        {"created_by": "RUN rm", "comment": "buildkit"},
    ]
    base = archive(tmp_path / "base.tar", [LOWER, UPPER], history=history)
    found = config_of(built(write(from_image={"path": str(base)}), tmp_path / "out"))["history"]
    assert found[:3] == history
    assert sum(not entry.get("empty_layer") for entry in found) == 2 + 2 + 1


def test_a_history_that_does_not_fit_the_layers_is_corrected(write: Write, tmp_path: Path) -> None:
    base = archive(tmp_path / "base.tar", [LOWER, UPPER], history=[{"created_by": "all"}])
    config = config_of(built(write(from_image={"path": str(base)}), tmp_path / "out"))
    assert [entry.get("created_by") for entry in config["history"]][:2] == ["all", None]
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"])


@pytest.mark.parametrize("wrong", ["layer", "diff_id"])
def test_a_base_with_wrong_digests_is_an_error(write: Write, tmp_path: Path, wrong: str) -> None:
    data = plain(tmp_path).read_bytes()
    lie = (b"debian", b"nebian") if wrong == "layer" else (diff_ids(LOWER)[0].encode()[:20],) * 2
    if wrong == "diff_id":
        lie = (diff_ids(LOWER)[0].encode(), diff_ids(UPPER)[0].encode())
    (tmp_path / "base.tar").write_bytes(data.replace(*lie))
    spec = write(from_image={"path": str(tmp_path / "base.tar")})
    for form in (Format.OCI_LAYOUT, Format.DOCKER_ARCHIVE):
        with pytest.raises(ImageError, match="diff_id is sha256"):
            built(spec, tmp_path / "out", form)
        assert not (tmp_path / "out").exists()


def test_store_paths_of_the_base_are_left_out(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lib.json").write_text(json.dumps([{"path": LIB, "narSize": 30, "references": []}]))
    built(write(closure={"graph": "lib.json"}), tmp_path / "base")
    spec = write(from_image={"path": str(tmp_path / "base")})
    with caplog.at_level(logging.INFO):
        assert resolve_spec(read_spec(spec)).spec.store_layers == [[APP]]
    assert "1 of 2 store paths are in the base image already: 30 bytes" in caplog.text


def test_store_paths_that_the_base_has_deleted_are_added(write: Write, tmp_path: Path) -> None:
    store = layer((f"{LIB[1:]}", "x"), (f"{APP[1:]}/a", ""), (f"{APP[1:]}/b", ""))
    gone = layer((f"nix/store/.wh.{LIB[11:]}", ""), (f"{APP[1:]}/.wh.a", ""))
    base = archive(tmp_path / "base.tar", [store, gone])
    layers = resolve_spec(read_spec(write(from_image={"path": str(base)}))).spec.store_layers
    assert layers == [[LIB], [APP]]


def test_store_paths_of_which_the_base_has_a_part_are_added(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = archive(tmp_path / "base.tar", [layer((f"{LIB[1:]}/etc/app.conf", "x"))])
    graph = [{"path": LIB, "narSize": 10_000, "references": []}]
    (tmp_path / "lib.json").write_text(json.dumps(graph))
    spec = write(from_image={"path": str(base)}, closure={"graph": "lib.json"})
    with caplog.at_level(logging.INFO):
        assert resolve_spec(read_spec(spec)).spec.store_layers == [[LIB]]
    assert "in the base image in part, and stored whole: 1 store path" in caplog.text


def test_layers_of_the_base_count(write: Write, tmp_path: Path) -> None:
    base = plain(tmp_path)
    spec = read_spec(write(from_image={"path": str(base)}, max_layers=4))
    assert resolve_spec(spec).spec.store_layers == [[LIB, APP]]
    with pytest.raises(PlanError, match="2 of the base image and the top layer leave no room"):
        resolve_spec(read_spec(write(from_image={"path": str(base)}, max_layers=3)))


def test_links_of_the_base_are_not_hidden(write: Write, tmp_path: Path) -> None:
    content = f"/nix/store/{'a' * 32}-tree"
    tree = Path(f"{tmp_path}{content}")
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/x").write_text("x")
    (tree / "tmp").mkdir()
    spec = write(
        from_image={"path": str(plain(tmp_path))},
        closure=None,
        store={"root": str(tmp_path)},
        contents=[content],
        extra_commands="mkdir -p bin; echo y > bin/y",
    )
    image = built(spec, tmp_path / "out")
    top = members(tmp_path / "out/blobs/sha256" / image.layers[-1].digest[7:])
    assert sorted(top) == ["", "/tmp", "/usr", "/usr/bin", "/usr/bin/x", "/usr/bin/y"]
    assert top["/tmp"].mode == 0o1777


def test_the_database_knows_the_store_of_the_base(write: Write, tmp_path: Path) -> None:
    (tmp_path / "lib.json").write_text(
        json.dumps([{"path": LIB, "narSize": 30, "references": [], "narHash": HASH}])
    )
    built(write(closure={"graph": "lib.json"}, nix_db=True), tmp_path / "base")
    image = built(write(from_image={"path": str(tmp_path / "base")}, nix_db=True), tmp_path / "o")
    assert len(image.layers) == 3 + 3
    import sqlite3

    with tarfile.open(tmp_path / "o/blobs/sha256" / image.layers[-1].digest[7:]) as tar:
        database = tar.extractfile("/nix/var/nix/db/db.sqlite")
        assert database is not None
        (tmp_path / "db").write_bytes(database.read())
    connection = sqlite3.connect(tmp_path / "db")
    rows = connection.execute("select path from ValidPaths order by path").fetchall()
    connection.close()
    assert rows == [(LIB,), (APP,)]


def test_a_base_for_another_machine_is_an_error(write: Write, tmp_path: Path) -> None:
    base = plain(tmp_path)
    spec = write(from_image={"path": str(base)}, architecture="arm64")
    with pytest.raises(InputError) as error:
        built(spec, tmp_path / "out")
    assert str(error.value) == (
        f"from_image.path: {base} has no image for linux/arm64; it has images for linux/amd64:"
        " choose one of these platforms"
    )


def two_images(path: Path) -> Path:
    """A docker-archive of two images, as `docker save a b` writes it."""
    one = archive(path / "1.tar", [LOWER])
    with tarfile.open(one) as old, tarfile.open(path / "two.tar", "w") as new:
        manifest = []
        for i, names in enumerate((["a:1", "a:2"], ["host:5/b:1"])):
            for member in old:
                data = old.extractfile(member)
                assert data is not None
                content = data.read()
                if member.name == "manifest.json":
                    continue
                if member.name == "config.json":
                    content = content.replace(b'"linux"', b'"linux", "author": "%d"' % i)
                copied = entry(f"{i}-{member.name}", size=len(content))
                new.addfile(copied, io.BytesIO(content))
            manifest.append(
                {"Config": f"{i}-config.json", "RepoTags": names, "Layers": [f"{i}-0/layer.tar"]}
            )
        content = json.dumps(manifest).encode()
        new.addfile(entry("manifest.json", size=len(content)), io.BytesIO(content))
    return path / "two.tar"


@pytest.mark.parametrize(
    ("name", "tag", "author"),
    [
        (None, None, "0"),
        ("a", None, "0"),
        ("a", "2", "0"),
        (None, "2", "0"),
        ("host:5/b", "1", "1"),
        ("host:5/B", None, "1"),
    ],
)
def test_an_image_is_chosen_by_name_and_tag(
    tmp_path: Path, name: str | None, tag: str | None, author: str
) -> None:
    path = two_images(tmp_path)
    with open_base_image(FileLocation(path), name, tag, Platform()) as base:
        assert len(base.layers) == 1
    with open_image(path) as file:
        from nixdock.read.selection import select_image

        assert select_image(file, name, tag).config.author == author


@pytest.mark.parametrize(("name", "tag"), [("c", None), ("a", "3"), (None, "9")])
def test_an_image_that_is_not_there(tmp_path: Path, name: str | None, tag: str | None) -> None:
    with (
        pytest.raises(InputError, match=r"has no image .*; it has a:1, a:2, host:5/b:1"),
        open_base_image(FileLocation(two_images(tmp_path)), name, tag, Platform()),
    ):
        pass


@pytest.mark.parametrize(
    ("base", "own", "merged"),
    [
        ([], [], []),
        (["A=1", "B=2"], ["C=3", "A=4"], ["A=4", "B=2", "C=3"]),
        (["A=1", "A=2"], [], ["A=2"]),
        (["A"], ["A=x=y"], ["A=x=y"]),
    ],
)
def test_environments_are_merged(base: list[str], own: list[str], merged: list[str]) -> None:
    assert merged_env(base, own) == merged


@pytest.mark.parametrize("config", [{}, {"Env": None}, {"Cmd": "nonsense", "Env": []}])
def test_missing_environments_are_none(config: Mapping[str, Any]) -> None:
    assert inherit(config, ContainerConfig()) == ContainerConfig()
    assert inherit(config, ContainerConfig(Env=["A=1"])).Env == ["A=1"]


BASE: Mapping[str, Any] = {
    "User": "u",
    "Env": ["A=1"],
    "Entrypoint": ["e"],
    "Cmd": ["c"],
    "Labels": {"a": "1", "b": "2"},
    "ExposedPorts": {"80/tcp": {}},
    "OnBuild": ["RUN x"],
    "Hostname": "h",
    "Volumes": None,
}


def test_only_the_environment_is_inherited() -> None:
    assert inherit(BASE, ContainerConfig(Cmd=["x"])) == ContainerConfig(Env=["A=1"], Cmd=["x"])


def test_everything_is_inherited() -> None:
    own = ContainerConfig(Labels={"b": "3"}, WorkingDir="/w")
    assert inherit(BASE, own, everything=True) == ContainerConfig(
        User="u",
        Env=["A=1"],
        Entrypoint=["e"],
        Cmd=["c"],
        Labels={"a": "1", "b": "3"},
        ExposedPorts=inherit(BASE, own, everything=True).ExposedPorts,
        WorkingDir="/w",
    )


def test_the_plan_of_the_base_image_is_not_inherited() -> None:
    plan = {"dev.nixdock.plan": "{}"}
    base = {"Labels": {"a": "1"} | plan}
    assert inherit(base, ContainerConfig(), everything=True).Labels == {"a": "1"}
    assert inherit({"Labels": plan}, ContainerConfig(), everything=True) == ContainerConfig()
    own = ContainerConfig(Labels={"b": "2"})
    assert inherit(base, own, everything=True).Labels == {"a": "1", "b": "2"}


def test_a_new_entrypoint_takes_no_commands_of_the_old_one() -> None:
    inherited = inherit(BASE, ContainerConfig(Entrypoint=["new"]), everything=True)
    assert (inherited.Entrypoint, inherited.Cmd) == (["new"], None)


def test_an_invalid_config() -> None:
    with pytest.raises(ImageError, match="the base image's config is not valid: "):
        inherit({"Env": "A=1"}, ContainerConfig())


def test_the_case_of_keys_does_not_matter() -> None:
    base = {"env": ["A=1"], "CMD": ["x"], "tty": True}
    inherited = inherit(base, ContainerConfig(), everything=True)
    assert inherited == ContainerConfig(Env=["A=1"], Cmd=["x"])
    assert inherit(base, ContainerConfig()).Env == ["A=1"]
    with pytest.raises(ImageError, match="'Env' and 'env' are the same key") as error:
        inherit({"Env": [], "env": []}, ContainerConfig())
    assert error.value.key == "env"


def test_stacked_images(write: Write, tmp_path: Path) -> None:
    """Each image has the layers of all images below it, unchanged."""
    found: list[str] = []
    base = None
    for i in range(5):
        spec = write(
            from_image=base and {"path": str(base)},
            closure=None,
            store_layers=[],
            extra_commands=f"echo {i} > layer{i}",
        )
        image = built(spec, tmp_path / f"{i}.tar", Format.DOCKER_ARCHIVE)
        ids = config_of(image)["rootfs"]["diff_ids"]
        assert ids[:-1] == found
        found = ids
        base = tmp_path / f"{i}.tar"


def test_a_layer_of_a_base_is_hashed_once(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = layer(("big", "x" * 3_000_000))
    base = archive(tmp_path / "base.tar", [big])
    hashed = 0
    real = hashlib.sha256

    class Counting:
        def __init__(self, data: bytes = b"") -> None:
            self.hash = real()
            self.update(data)

        def update(self, data: bytes) -> None:
            nonlocal hashed
            hashed += len(data)
            self.hash.update(data)

        def hexdigest(self) -> str:
            return self.hash.hexdigest()

        def digest(self) -> bytes:
            return self.hash.digest()

    # The native packer has a SHA-256 of its own.
    monkeypatch.setenv(PACKER_VARIABLE, "python")
    monkeypatch.setattr(hashlib, "sha256", Counting)
    spec = write(from_image={"path": str(base)}, extra_commands="touch x")
    built(spec, tmp_path / "out", Format.DOCKER_ARCHIVE)
    assert len(big) <= hashed < len(big) + 300_000
    hashed = 0
    with prepared_build(read_spec(spec)) as build:
        pack_all(build.layers, cores=1)
    assert len(big) <= hashed < len(big) + 300_000


def test_a_single_layer_holds_all(write: Write, tmp_path: Path) -> None:
    spec = write(
        single_layer=True, extra_commands="mkdir -p nix/var; echo x > x", source_date_epoch=9
    )
    image = built(spec, tmp_path / "out")
    assert len(image.layers) == 1
    found = members(tmp_path / "out/blobs/sha256" / image.layers[0].digest[7:])
    assert list(found) == ["", "/nix", "/nix/var", "/x", "/nix/store", LIB, APP]
    assert found["/x"].mtime == 9
    assert verify_image(tmp_path / "out").problems == ()
    assert (
        built(spec, tmp_path / "out.tar", Format.DOCKER_ARCHIVE).config.digest
        == image.config.digest
    )
    top = {"top_layer": str(tmp_path / "top")}
    from nixdock.build.build import prepared_top_layer
    from nixdock.rootfs.packed_layer import write_top_layer

    with prepared_top_layer(read_spec(spec)) as source:
        write_top_layer(source, tmp_path / "top")
    again = built(write(single_layer=True, source_date_epoch=9, **top), tmp_path / "again")
    assert again.config.digest == image.config.digest
    shutil.rmtree(tmp_path / "top")
