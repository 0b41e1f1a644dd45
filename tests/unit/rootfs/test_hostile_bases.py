"""Hostile images: refused or contained, in bounded time and memory, and never with a traceback."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import os
import resource
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from backports import zstd
from click.testing import CliRunner

from nixdock.cli import main
from nixdock.errors import NixdockError
from tests.unit.docker_archive import archive, directory, entry, layer, link

OUTSIDE = "/outside"
PLAIN = layer(("a", "x"))
UP = "../" * 20
READERS = frozenset({"build", "export"})
ALL = frozenset({"build", "export", "merge", "inspect", "verify"})


class Commands:
    """All commands that read an image, in a directory that is checked for changes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.image = directory / "image.tar"
        self.outside = directory / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_text("secret")
        (directory / "work").mkdir()
        (directory / "tmp").mkdir()

    def arguments(self) -> Iterator[list[str]]:
        """The command lines; outputs are written to `work`."""
        target = str(self.directory / "work" / "out")
        image = str(self.image)
        spec = self.directory / "spec.json"
        own = "mkdir -p bin esc etc; for d in . bin esc etc; do echo own > $d/own; done"
        spec.write_text(
            json.dumps(
                {"version": 1, "name": "n", "from_image": {"path": image}, "extra_commands": own}
            )
        )
        yield ["build", str(spec), "-q", "-o", target]
        yield ["build", str(spec), "-q", "-o", target, "--format", "docker-archive"]
        yield ["export", image, "-o", target]
        yield ["merge", image, "-o", target]
        yield ["inspect", image]
        yield ["verify", image]

    def refusals(self) -> dict[str, str]:
        """Run all commands; return the error output of those that fail, by command."""
        found: dict[str, str] = {}
        for args in self.arguments():
            before = self._seen()
            done = CliRunner().invoke(main, args)
            error = done.exception
            assert self._seen() == before, args
            if error is None:
                assert args[0] not in found, "build refuses in one form and not in another"
                self._remove_output()
                continue
            assert isinstance(error, NixdockError | click.ClickException), (args, error)
            assert error.args[0].isprintable(), "an error is one line"
            found[args[0]] = done.output if args[0] == "verify" else str(error)
            assert os.listdir(self.directory / "work") == [], "no half of an output stays"
        return found

    def _seen(self) -> list[tuple[str, bytes]]:
        """The contents of all files except the outputs."""
        files = (Path(top, name) for top, _, names in os.walk(self.directory) for name in names)
        work = self.directory / "work"
        return sorted((str(f), f.read_bytes()) for f in files if not f.is_relative_to(work))

    def _remove_output(self) -> None:
        for file in (self.directory / "work").iterdir():
            file.unlink()


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    found = Commands(tmp_path)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return found


def hard_link(name: str, target: str) -> tarfile.TarInfo:
    return entry(name, tarfile.LNKTYPE, linkname=target)


def pax(name: str, **records: str) -> tarfile.TarInfo:
    return entry(
        name, pax_headers={key.replace("__", "."): value for key, value in records.items()}
    )


# Layers that no runtime should unpack: commands that merge them fail, and `verify` reports them.

REFUSED: Mapping[str, tuple[Sequence[bytes], str]] = {
    "a name that leads upwards": ([layer(("../x", ""))], "contains '..'"),
    "a name that leads upwards later": ([layer(("a/../../x", ""))], "contains '..'"),
    "a file behind an absolute link": (
        *([layer(link("esc", OUTSIDE), ("esc/x", ""))], "'esc', which does not lead to a dir"),
    ),
    "a file behind an escaping link": (
        *([layer(link("esc", UP + "tmp"), ("esc/x", ""))], "'esc', which does not lead to a"),
    ),
    "a hard link to the outside": ([layer(hard_link("h", f"{UP}etc/passwd"))], "contains '..'"),
    "a hard link to an absolute name": (
        *([layer(hard_link("h", "/etc/passwd"))], "is not an earlier file"),
    ),
    "a hard link by way of a link": (
        *([layer(link("s", OUTSIDE), hard_link("h", "s/secret"))], "which is not an earlier file"),
    ),
    "a hard link to itself": ([layer(hard_link("h", "h"))], "which is not an earlier file"),
    "an overlay's whiteout": (
        [layer(entry("n", tarfile.CHRTYPE, devmajor=0, devminor=0))],
        "is a device 0:0, which overlayfs takes for a whiteout",
    ),
    "an impossible device": (
        [layer(entry("n", tarfile.BLKTYPE, devmajor=0o7777777, devminor=1))],
        "is a device 2097151:1, which is out of range",
    ),
    "an owner below zero": ([layer(pax("a", uid="-1"))], "has the owner -1:0"),
    "an owner that is too large": (
        [layer(pax("a", gid="4294967295"))],
        "has the owner 0:4294967295",
    ),
    "a whiteout of nothing": ([layer((".wh.", ""))], "is a whiteout of nothing"),
    "a whiteout of its directory": ([layer(("a/.wh..", ""))], "is a whiteout of nothing"),
    "a whiteout of what is above": ([layer(("a/.wh...", ""))], "is a whiteout of nothing"),
    "a whiteout that leads upwards": ([layer(("../.wh.x", ""))], "contains '..'"),
    "a whiteout that is a directory": ([layer(directory(".wh.x"))], "not an empty file"),
    "a whiteout that is a link": ([layer(link(".wh.x", "/etc"))], "not an empty file"),
    "a whiteout with bytes": ([layer((".wh.x", "data"))], "not an empty file"),
    "a member twice": ([layer(("a", "1"), ("a", "2"))], "'a' appears twice"),
    "a member twice, spelt differently": (
        [layer(("a", "1"), (".//a/.", "2"))],
        "'a' appears twice",
    ),
    "a link that becomes a directory": (
        *([layer(link("a", OUTSIDE), directory("a"), ("a/x", ""))], "'a' appears twice"),
    ),
    "a name of control characters": (*([layer(("../\n\x1b[31merror: x", ""))], "contains '..'"),),
    "a file below a whiteout": ([layer((".wh.x/y", ""))], "is below a whiteout"),
    "a hard link to a whiteout": (
        *([layer((".wh.x", ""), hard_link("h", ".wh.x"))], "which is not an earlier file"),
    ),
    "a file below a file": ([layer(("a", ""), ("a/b", ""))], "is below 'a', a file"),
    "a long component": ([layer(("a" * 256, ""))], "is too long for a file system"),
    "a long path": ([layer((f"{'a' * 200}/" * 21, ""))], "is too long for a file system"),
    "a deep path": ([layer(("a/" * 2049, ""))], "is too long for a file system"),
    "a root that is a file": ([layer(("/", ""))], "the root is a file, but earlier"),
    "a root that is a link": ([layer(link("./", "/etc"))], "the root is a symbolic link"),
    "a link without a target": ([layer(link("a", ""))], "has no target"),
    "a link with a long target": ([layer(link("a", "b/" * 2100))], "has a target that is too long"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("compress", [False, True])
def test_layers_that_are_refused(commands: Commands, name: str, compress: bool) -> None:
    layers, message = REFUSED[name]
    archive(commands.image, layers, compress)
    found = commands.refusals()
    assert found.keys() == READERS | {"verify"}
    assert all(message in text for text in found.values()), found


# Layers that are valid one by one, but not together.

BETWEEN: Mapping[str, tuple[Sequence[bytes], str]] = {
    "a file behind a lower layer's absolute link": (
        *(
            [layer(link("esc", OUTSIDE)), layer(("esc/x", ""))],
            "'esc', which does not lead to a directory",
        ),
    ),
    "a file behind a lower layer's escaping link": (
        *(
            [layer(link("esc", UP + "tmp")), layer(("esc/x", ""))],
            "which does not lead to a directory",
        ),
    ),
    "a file behind links in a circle": (
        *(
            [layer(link("a", "b"), link("b", "a")), layer(("a/x", ""))],
            "does not lead to a directory",
        ),
    ),
    "a file behind a link to a file": (
        *([layer(("f", ""), link("l", "f")), layer(("l/x", ""))], "below 'l', which"),
    ),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_tricks_between_layers(commands: Commands, name: str) -> None:
    layers, message = BETWEEN[name]
    archive(commands.image, layers)
    found = commands.refusals()
    # A file whose directory the layer lacks has its meaning from the layers below.
    assert found.keys() == READERS | {"verify"}
    assert all(message in text for text in found.values()), found


# Unusual layers that are valid: nothing leaves the image.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "files"),
    [
        ([layer((f"{OUTSIDE}/secret", "new"))], ["./outside/secret"]),
        ([layer(entry("null", tarfile.CHRTYPE, devmajor=1, devminor=3))], ["./null"]),
        ([layer(("\udcff\n", "x"))], ["./\udcff\n"]),
        (
            # AUFS's own files: containers have what is in its directories, under all of its names.
            [
                layer(
                    (".wh..wh.plnk/1.2", "x"),
                    (".wh..wh.aufs", "x"),
                    hard_link("a", ".wh..wh.plnk/1.2"),
                    hard_link("b", ".wh..wh.plnk/1.2"),
                )
            ],
            ["./.wh..wh.plnk/1.2", "./a", "./b"],
        ),
        (
            # Whiteouts behind a link to the outside, which is not the image's outside.
            [layer(link("esc", OUTSIDE)), layer(("esc/.wh.secret", ""), ("esc/.wh..wh..opq", ""))],
            [],
        ),
        (
            # A link that leads out and back in stays in, as in a container.
            [layer(directory("t"), link("esc", f"{UP}t"), ("esc/x", ""))],
            ["./esc", "./t/x"],
        ),
        (
            # A directory takes the place of one of a lower layer, as in a container.
            [layer(directory("t"), link("esc", f"{UP}t")), layer(("esc/x", ""))],
            ["./esc/x"],
        ),
        ([PLAIN, layer((".wh.a", ""), ("a", "y"))], ["./a"]),
        ([layer(pax("a", mtime="-9999999999.5"))], ["./a"]),
        ([layer(pax("a", SCHILY__xattr__user__x="\n\0", comment="y"))], ["./a"]),
    ],
)
def test_what_stays_inside(commands: Commands, layers: Sequence[bytes], files: list[str]) -> None:
    archive(commands.image, layers)
    assert commands.refusals() == {}
    done = CliRunner().invoke(main, ["export", str(commands.image), "-o", "export"])
    assert done.exit_code == 0
    with tarfile.open("export") as tar:
        assert [member.name for member in tar if not member.isdir()] == files


# Layers that are damaged or unsupported tars.

BROKEN: Mapping[str, tuple[bytes, str]] = {
    "no tar": (b"hello" * 1000, "is not an octal number"),
    "a tar that ends early": (layer(("a", "x" * 5000))[:2000], "ends in the middle of 'a'"),
    "a header that ends early": (PLAIN[:700], "ends in the middle of 'a'"),
    "bytes behind the end": (PLAIN + b"garbage" + bytes(505), "non-zero bytes after its end"),
    "a sparse file": (layer(entry("a", b"S")), "a sparse file"),
    "an unknown kind": (layer(entry("a", b"V")), "unknown kind"),
    "a size without its bytes": (layer(entry("a", size=1 << 62)), "ends in the middle of 'a'"),
    "a large extended header": (
        *(layer(pax("a", comment="x" * (1 << 20))), "an extended header has 10"),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_layers_that_are_not_whole(commands: Commands, name: str) -> None:
    data, message = BROKEN[name]
    archive(commands.image, [data])
    found = commands.refusals()
    assert found.keys() == ALL - {"merge"}, "what is copied as it is, is not unpacked"
    assert all(message in text for text in found.values()), found


def test_a_global_header_that_renames(commands: Commands) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", pax_headers={"path": "/etc/passwd"}) as tar:
        tar.addfile(entry("a"))
    archive(commands.image, [out.getvalue()])
    found = commands.refusals()
    assert found.keys() == ALL - {"merge"}
    assert all("a global header sets path" in text for text in found.values())


@pytest.mark.parametrize("end", [b"garbage", -8])
def test_compressed_layers_that_are_not_whole(commands: Commands, end: bytes | int) -> None:
    packed = gzip.compress(PLAIN)
    packed = packed[:end] if isinstance(end, int) else packed + end
    damaged_archive(commands.image, blob=packed)
    assert commands.refusals().keys() == ALL


# Wrong or damaged documents and archives.


def diff_id(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def config(**keys: Any) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [diff_id(PLAIN)]}
    return json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs, **keys}).encode()


def damaged_archive(
    path: Path,
    *,
    blob: bytes = PLAIN,
    settings: bytes | None = None,
    manifest: bytes | None = None,
    more: Sequence[tuple[str, bytes]] = (),
    links: Mapping[str, str] | None = None,
    **entry_keys: Any,
) -> None:
    """Write an archive with one layer, `l.tar`; the arguments replace valid parts."""
    described = {"Config": "config.json", "RepoTags": ["x:y"], "Layers": ["l.tar"], **entry_keys}
    files = [
        (described["Config"].lstrip("/"), config() if settings is None else settings),
        ("l.tar", blob),
        ("manifest.json", json.dumps([described]).encode() if manifest is None else manifest),
        *more,
    ]
    with tarfile.open(path, "w") as tar:
        for name, data in files:
            tar.addfile(entry(name, size=len(data)), io.BytesIO(data))
        for name, target in (links or {}).items():
            tar.addfile(link(name, target))


DEEP = b"[" * 100_000 + b"]" * 100_000

LIES: Mapping[str, tuple[dict[str, Any], str]] = {
    "a wrong layer": ({"blob": layer(("a", "y"))}, "its digest is"),
    "a diff_id that is a path": (
        {"settings": config(rootfs={"type": "layers", "diff_ids": ["sha256:../../x"]})},
        "'sha256:../../x' is not a digest",
    ),
    "too few diff_ids": (
        {"settings": config(rootfs={"type": "layers", "diff_ids": []})},
        "the config has 0 diff_ids, but the manifest lists 1 layer",
    ),
    "a wrong config": ({"Config": f"{'0' * 64}.json"}, "is damaged: its digest is"),
    "a missing layer": ({"Layers": ["gone.tar"]}, "gone.tar is missing"),
    "a layer above": ({"Layers": ["../../etc/passwd"]}, "contains '..'"),
    "an absolute layer": ({"Layers": ["/etc/passwd"]}, "etc/passwd is missing"),
    "a layer with a NUL": ({"Layers": ["a\0b"]}, "contains a NUL byte"),
    "a link to the outside": (
        {"Layers": ["m"], "links": {"m": "/etc/passwd"}},
        "m is a link to /etc/passwd, which is not a file in the archive",
    ),
    "a link upwards": ({"Layers": ["m"], "links": {"m": f"{UP}etc/passwd"}}, "m is a link to ../"),
    "links in a circle": ({"Layers": ["m"], "links": {"m": "n", "n": "m"}}, "m is a link to n"),
    "two manifests": ({"more": [("manifest.json", b"[]")]}, "'manifest.json' appears twice"),
    "two layers of a name": ({"more": [("./l.tar", b"")]}, "'l.tar' appears twice"),
    "a giant manifest": ({"manifest": b" " * (5 << 20) + b"[]"}, "at most 4194304"),
    "a giant config": ({"settings": b" " * (5 << 20) + b"{}"}, "at most 4194304"),
    "a deep manifest": ({"manifest": DEEP}, "nested too deeply"),
    "a deep config": ({"settings": DEEP}, "nested too deeply"),
    "a giant number": ({"settings": b'{"a":' + b"9" * 1_000_000 + b"}"}, "fit into 64 bits"),
    "a key twice": ({"settings": b'{"os":"a","os":"b"}'}, "the key 'os' appears twice"),
    "half a character": ({"settings": b'{"os":"\\ud800"}'}, "is not Unicode"),
    "no number": ({"settings": b'{"a":NaN}'}, "NaN is not a number"),
    "no text": ({"settings": b'"\xff"'}, "can't decode byte 0xff"),
    "an object for a list": ({"manifest": b"{}"}, "Expected `array`, got `object`"),
    "a list for an object": ({"settings": config(config=[])}, "Expected `object | null`, got"),
    "no layers at all": (
        {"settings": config(rootfs={"type": "layers+base"})},
        "rootfs.type is 'layers+base'",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_documents_that_lie(commands: Commands, name: str) -> None:
    changes, message = LIES[name]
    damaged_archive(commands.image, **changes)
    found = commands.refusals()
    assert found.keys() == ALL
    assert all(message in text for text in found.values()), found


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"config": {"Env": [{"a": 1}]}}, "config.Env[0] has the wrong type"),
        ({"config": {"Labels": {"a": 1}}}, "config.Labels[...] has the wrong type"),
        ({"history": [{"created": "yesterday"}]}, "history[0].created is 'yesterday'"),
        ({"created": "2021-02-31T00:00:00Z"}, "created is '2021-02-31T00:00:00Z'"),
    ],
)
def test_a_config_that_others_refuse_is_not_inherited(
    commands: Commands, keys: dict[str, Any], message: str
) -> None:
    damaged_archive(commands.image, settings=config(**keys))
    found = commands.refusals()
    assert found.keys() == {"build", "verify"}
    assert all(f"config of manifest.json[0]: {message}" in text for text in found.values()), found


def test_names_that_are_none(commands: Commands) -> None:
    damaged_archive(commands.image, RepoTags=["../x:y\n\x1b[31m", "x" * 5000, "-:-"])
    found = commands.refusals()
    assert found.keys() == {"verify"}
    CliRunner().invoke(main, ["merge", str(commands.image), "-o", "merged", "--compression=none"])
    with tarfile.open("merged") as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        assert json.load(manifest)[0]["RepoTags"] is None


@pytest.mark.slow
def test_a_long_history(commands: Commands) -> None:
    history = [{"empty_layer": True}] * 150_000
    damaged_archive(commands.image, settings=config(history=history))
    assert commands.refusals().keys() == {"verify"}


@pytest.mark.slow
def test_many_small_values(commands: Commands) -> None:
    """A list of no bytes takes three bytes in JSON, but fifty times as much memory."""
    values: list[list[str]] = [[]] * 500_000
    damaged_archive(commands.image, settings=config(config={"Labels": values}))
    found = commands.refusals()
    assert found.keys() == ALL
    assert all("have more than 500000 values in all" in text for text in found.values()), found


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], "is malformed"),
        (lambda data: data[:600], "ends in the middle of 'config.json'"),
        (lambda data: data + b"garbage", "non-zero bytes after its end-of-archive marker"),
        (lambda data: gzip.compress(data) + b"garbage", "is damaged"),
        (lambda data: gzip.compress(data)[:-20], "is truncated"),
        (lambda data: lzma.compress(data)[:-9], "is truncated"),
        (lambda data: zstd.compress(data)[:-5], "is truncated"),
    ],
)
def test_damaged_archives(
    commands: Commands, damage: Callable[[bytes], bytes], message: str
) -> None:
    archive(commands.image, [PLAIN])
    commands.image.write_bytes(damage(commands.image.read_bytes()))
    found = commands.refusals()
    assert found.keys() == ALL
    assert all(message in text for text in found.values()), found


@pytest.mark.parametrize("data", [b"", b"x", b"\x1f\x8b", bytes(10240), b"\xfd7zXZ\0"])
def test_files_that_are_no_archives(commands: Commands, data: bytes) -> None:
    commands.image.write_bytes(data)
    assert commands.refusals().keys() == ALL


# OCI layouts, which have digests of everything.

LAYOUT_LIES: Mapping[str, tuple[str, Callable[[bytes], bytes]]] = {
    "a changed layer": ("layer", lambda data: data.replace(b"x", b"y")),
    "a layer with more bytes": ("layer", lambda data: data + bytes(512)),
    "a layer that ends early": ("layer", lambda data: data[:-512]),
    "a changed config": ("config", lambda data: data.replace(b"linux", b"plan9")),
    "a changed manifest": ("manifest", lambda data: data.replace(b" ", b"\n")),
}


def oci_layout(path: Path) -> dict[str, Path]:
    """Write a layout with one image; return the files of its layer, config and manifest."""
    blobs = path / "blobs/sha256"
    blobs.mkdir(parents=True)
    files: dict[str, Path] = {}

    def blob(name: str, media_type: str, data: bytes) -> dict[str, object]:
        digest = diff_id(data)
        files[name] = blobs / digest[7:]
        files[name].write_bytes(data)
        kind = f"application/vnd.oci.image.{media_type}"
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    document = {
        "schemaVersion": 2,
        "config": blob("config", "config.v1+json", config()),
        "layers": [blob("layer", "layer.v1.tar", PLAIN)],
    }
    manifest = blob("manifest", "manifest.v1+json", json.dumps(document).encode())
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return files


@pytest.mark.parametrize("name", LAYOUT_LIES)
def test_layouts_that_lie(commands: Commands, name: str) -> None:
    which, damage = LAYOUT_LIES[name]
    blob = oci_layout(commands.image)[which]
    blob.write_bytes(damage(blob.read_bytes()))
    assert commands.refusals().keys() == ALL


def test_a_layer_that_skopeo_calls_compressed_and_is_not(commands: Commands) -> None:
    """Skopeo writes Docker manifests with one media type for all layers, compressed or not."""
    files = oci_layout(commands.image)
    index = commands.image / "index.json"
    manifest = files["manifest"].read_bytes()
    old, new = (
        f'"mediaType": "application/vnd.{kind}"'.encode()
        for kind in ("oci.image.layer.v1.tar", "docker.image.rootfs.diff.tar.gzip")
    )
    changed = manifest.replace(old, new)
    assert changed != manifest
    (files["manifest"].parent / diff_id(changed)[7:]).write_bytes(changed)
    files["manifest"].unlink()
    document = json.loads(index.read_text())
    document["manifests"][0] |= {"digest": diff_id(changed), "size": len(changed)}
    index.write_text(json.dumps(document))
    assert commands.refusals() == {}


def test_a_layout_whose_blobs_are_links_to_the_outside(commands: Commands) -> None:
    blob = oci_layout(commands.image)["layer"]
    (commands.outside / "layer").write_bytes(blob.read_bytes())
    blob.unlink()
    blob.symlink_to(commands.outside / "layer")
    found = commands.refusals()
    assert found.keys() == ALL
    assert all("is missing" in text for text in found.values())


def test_a_layout_of_pipes(commands: Commands) -> None:
    """Commands must not wait for a writer of the FIFO."""
    blob = oci_layout(commands.image)["layer"]
    blob.unlink()
    os.mkfifo(blob)
    for args in commands.arguments():
        assert isinstance(CliRunner().invoke(main, args).exception, NixdockError)


def test_a_digest_that_is_a_path(commands: Commands) -> None:
    oci_layout(commands.image)
    index = commands.image / "index.json"
    document = json.loads(index.read_text())
    document["manifests"][0]["digest"] = f"sha256:{UP}etc/passwd"
    index.write_text(json.dumps(document))
    found = commands.refusals()
    assert found.keys() == ALL
    assert all("is not a digest" in text for text in found.values())


# Large numbers and sizes.


def many_layers(path: Path, count: int, *, distinct: bool) -> None:
    layers = [layer((str(i), "")) for i in range(count)] if distinct else [PLAIN] * count
    rootfs = {"type": "layers", "diff_ids": [diff_id(data) for data in layers]}
    names = [f"{i}.tar" if distinct else "l.tar" for i in range(count)]
    more = list(zip(names, layers, strict=True)) if distinct else []
    damaged_archive(path, settings=config(rootfs=rootfs), more=more, Layers=names)


@pytest.mark.slow
@pytest.mark.parametrize("distinct", [False, True])
def test_ten_thousand_layers(commands: Commands, distinct: bool) -> None:
    many_layers(commands.image, 10_000, distinct=distinct)
    found = commands.refusals()
    assert found.keys() == READERS | {"verify"}
    assert found["export"] == (
        f"{commands.image}: manifest.json[0]: the image has 10000 layers, but may have at most 1000"
    )
    assert "Docker and Podman run at most 125" in found["verify"]


def test_more_than_ten_thousand_layers(commands: Commands) -> None:
    many_layers(commands.image, 10_001, distinct=False)
    assert commands.refusals().keys() == ALL


@pytest.mark.slow
def test_a_thousand_layers_on_few_descriptors(commands: Commands) -> None:
    many_layers(commands.image, 1000, distinct=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        found = commands.refusals()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.keys() == {"build", "verify"}
    assert "Docker takes at most 125" in found["build"]


def test_a_layer_that_stands_many_times_is_read_once(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIX_BUILD_CORES", "2")
    read = 0

    def decompressed(data: memoryview) -> None:
        nonlocal read
        read += len(data)

    from nixdock.layers import hashed

    update = hashed.HashedReader.readinto

    def readinto(self: hashed.HashedReader, buffer: Any) -> int:
        count = update(self, buffer)
        decompressed(memoryview(buffer)[:count])
        return count

    large = layer(("a", "x" * 1_000_000))
    rootfs = {"type": "layers", "diff_ids": [diff_id(large)] * 100}
    packed = gzip.compress(large)
    for diff_ids in ([diff_id(large)] * 100, [f"sha256:{i:064x}" for i in range(100)]):
        rootfs["diff_ids"] = diff_ids
        settings = config(rootfs=rootfs)
        damaged_archive(commands.image, blob=packed, settings=settings, Layers=["l.tar"] * 100)
        with monkeypatch.context() as context:
            context.setattr(hashed.HashedReader, "readinto", readinto)
            for args in (
                ["export", str(commands.image), "-o", "o"],
                ["verify", str(commands.image)],
            ):
                read = 0
                CliRunner().invoke(main, args)
                # For each of two cores, four are read ahead of the first damaged one.
                assert 0 < read < 9 * len(large), args


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compress", "whole"),
    [
        (gzip.compress, False),
        (zstd.compress, False),
        (gzip.compress, True),
        (zstd.compress, True),
        (lzma.compress, True),
    ],
)
def test_a_compression_bomb(
    commands: Commands,
    monkeypatch: pytest.MonkeyPatch,
    compress: Callable[[bytes], bytes],
    whole: bool,
) -> None:
    """The limit is 64 GiB; the test lowers it to save time."""
    from nixdock.coding import decompression as decompress

    assert decompress.MOST_EXPANDED == 64 << 30
    for module in ("coding.decompression", "read.archive", "read.merging"):
        monkeypatch.setattr(f"nixdock.{module}.MOST_EXPANDED", 8 << 20)
    large = layer(("a", "x" * (16 << 20)))
    if whole:
        archive(commands.image, [large])
        commands.image.write_bytes(compress(commands.image.read_bytes()))
    else:
        rootfs = {"type": "layers", "diff_ids": [diff_id(large)]}
        damaged_archive(commands.image, blob=compress(large), settings=config(rootfs=rootfs))
    assert commands.image.stat().st_size < 100_000
    found = commands.refusals()
    assert found.keys() == ALL
    assert all(f"expands to more than {8 << 20} bytes" in text for text in found.values()), found


def test_bombs_that_are_small_each(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("coding.decompression", "read.archive", "read.opened_tars"):
        monkeypatch.setattr(f"nixdock.{module}.MOST_EXPANDED", 8 << 20)
    layers = [layer((f"{i}", "x" * (3 << 20))) for i in range(3)]
    archive(commands.image, layers, compress=True)
    found = commands.refusals()
    assert found.keys() == READERS
    assert all(f"the layers expand to more than {8 << 20} bytes" in text for text in found.values())


def bomb(path: Path, members: Iterator[bytes]) -> None:
    """Write an archive with one compressed layer of `members`."""
    digest, packer = hashlib.sha256(), zlib.compressobj(1, wbits=31)
    packed = bytearray()
    for data in (*members, bytes(1024)):
        digest.update(data)
        packed += packer.compress(data)
    packed += packer.flush()
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{digest.hexdigest()}"]}
    damaged_archive(path, blob=bytes(packed), settings=config(rootfs=rootfs))


def member(name: str, **records: str) -> bytes:
    return pax(name, **records).tobuf(tarfile.PAX_FORMAT)


BOMBS: Mapping[str, tuple[Callable[[], Iterator[bytes]], str]] = {
    "extended headers": (
        lambda: (member(str(i), comment="y" * 1_000_000) for i in range(300)),
        "its extended headers have more than 268435456 bytes in all",
    ),
    "directories that names imply": (
        lambda: (member(f"{i}/" + f"{'d' * 13}/" * 250 + "f") for i in range(700)),
        "the names of the layer's directories have more than 268435456 bytes in total",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_of_headers(commands: Commands, name: str) -> None:
    """Small files that would need gigabytes of memory; child processes have a memory limit."""
    members, message = BOMBS[name]
    bomb(commands.image, members())
    assert commands.image.stat().st_size < 3_000_000
    for args in commands.arguments():
        done = subprocess.run(
            [sys.executable, "-m", "nixdock", *args],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)),
        )
        assert "Traceback" not in done.stderr
        if args[0] in READERS:
            assert (done.returncode, done.stderr.count("\n")) == (1, 1)
            assert message in done.stderr
        elif args[0] == "verify":
            assert message in done.stdout


# Through the command line.


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a name of control characters", "a whiteout of nothing"])
def test_an_error_is_one_line_and_a_status(commands: Commands, name: str) -> None:
    layers, _ = REFUSED[name]
    archive(commands.image, layers)
    for args in commands.arguments():
        done = subprocess.run(
            [sys.executable, "-m", "nixdock", *args],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if args[0] in {"merge", "inspect"}:
            assert done.returncode == 0
            continue
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert done.stderr[:-1].isprintable()
