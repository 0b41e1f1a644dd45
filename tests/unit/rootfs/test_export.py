"""Exports: the root file system of a container in one tar."""

from __future__ import annotations

import io
import lzma
import os
import pty
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from nixdock import copy_image
from nixdock.cli import main
from nixdock.errors import ImageError, InputError
from nixdock.face.images import export_image
from nixdock.oci.layout import Format
from tests.unit.docker_archive import archive, directory, entry, layer, link

MTIME = 1_000_000_000
# No capability, effectively.
CAPABILITY = "\x01\0\0\x02" + "\0" * 16


def exported(path: Path, **selection: Any) -> bytes:
    out = io.BytesIO()
    export_image(path, out.write, mtime=MTIME, **selection)
    return out.getvalue()


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: member for member in tar}


def contents(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = [member for member in tar if member.isreg() or member.islnk()]
        files = ((member.name, tar.extractfile(member)) for member in found)
        return {name: file.read() for name, file in files if file is not None}


def image(tmp_path: Path, *layers: bytes, compress: bool = False) -> bytes:
    return exported(archive(tmp_path / "image.tar", layers, compress))


def test_layers_are_flattened(tmp_path: Path) -> None:
    data = image(
        tmp_path,
        layer(("a", "old"), ("etc/gone", "x"), ("etc/kept", "k"), directory("opt"), ("opt/x", "")),
        layer(("a", "new"), ("etc/.wh.gone", ""), ("opt/.wh..wh..opq", ""), ("opt/y", "y")),
        layer(("b", "")),
    )
    assert contents(data) == {
        "./a": b"new",
        "./b": b"",
        "./etc/kept": b"k",
        "./opt/y": b"y",
    }
    assert list(members(data)) == [".", "./a", "./b", "./etc", "./etc/kept", "./opt", "./opt/y"]


def test_names_are_those_of_docker_tools(tmp_path: Path) -> None:
    data = image(tmp_path, layer(("/bin/bash", ""), directory("./tmp/")))
    (tmp_path / "out.tar").write_bytes(data)
    listed = subprocess.run(
        ["tar", "--list", "--file", tmp_path / "out.tar"], capture_output=True, check=True
    )
    assert listed.stdout.split() == [b"./", b"./bin/", b"./bin/bash", b"./tmp/"]


def test_owners_modes_attributes_and_devices_are_kept(tmp_path: Path) -> None:
    data = image(
        tmp_path,
        layer(
            directory("", mode=0o711, uid=7),
            entry("ping", mode=0o4755, uid=12, gid=34),
            entry("caps", pax_headers={"SCHILY.xattr.security.capability": CAPABILITY}),
            entry("null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3),
            entry("disk", tarfile.BLKTYPE, mode=0o660, gid=6, devmajor=259, devminor=70000),
            entry("pipe", tarfile.FIFOTYPE),
            directory("tmp", mode=0o1777),
            entry("large", uid=2**31, gid=2**32 - 2),
            link("sh", "/bin/sh"),
        ),
    )
    found = members(data)
    assert {member.mtime for member in found.values()} == {MTIME}
    assert (found["."].mode, found["."].uid) == (0o711, 7)
    assert (found["./ping"].mode, found["./ping"].uid, found["./ping"].gid) == (0o4755, 12, 34)
    assert found["./ping"].uname == ""
    assert (found["./pipe"].type, found["./tmp"].mode) == (tarfile.FIFOTYPE, 0o1777)
    assert found["./caps"].pax_headers == {"SCHILY.xattr.security.capability": CAPABILITY}
    assert (found["./null"].type, found["./null"].devmajor, found["./null"].devminor) == (
        *(tarfile.CHRTYPE, 1, 3),
    )
    assert (found["./disk"].devmajor, found["./disk"].devminor) == (259, 70000)
    assert (found["./large"].uid, found["./large"].gid) == (2**31, 2**32 - 2)
    assert (found["./sh"].linkname, found["./sh"].uname) == ("/bin/sh", "root")


def test_hard_links_stay_and_follow_their_file(tmp_path: Path) -> None:
    data = image(
        tmp_path,
        layer(
            ("z", "same"),
            entry("a", tarfile.LNKTYPE, linkname="z"),
            entry("m", tarfile.LNKTYPE, linkname="a"),
            ("other", "x"),
            entry("gone", tarfile.LNKTYPE, linkname="other"),
        ),
        layer((".wh.gone", ""), ("m", "new")),
    )
    found = members(data)
    assert contents(data) == {"./a": b"same", "./m": b"new", "./other": b"x", "./z": b"same"}
    assert (found["./z"].type, found["./z"].linkname) == (tarfile.LNKTYPE, "./a")
    assert [found[f"./{name}"].type for name in ("a", "m", "other")] == [tarfile.REGTYPE] * 3


def test_links_of_the_same_layer_are_followed_and_stay(tmp_path: Path) -> None:
    links = link("bin", "usr/bin"), link("lib", "/usr/lib")
    data = image(tmp_path, layer(directory("usr/bin"), *links, ("bin/sh", "sh")))
    assert contents(data) == {"./usr/bin/sh": b"sh"}
    assert members(data)["./bin"].linkname == "usr/bin"


def test_links_of_lower_layers_make_way_for_directories(tmp_path: Path) -> None:
    """As in a container of Docker, Podman or containerd."""
    lower = layer(directory("usr/bin"), link("bin", "usr/bin"), link("lib", "/usr/lib"))
    data = image(tmp_path, lower, layer(("bin/sh", "sh")))
    assert contents(data) == {"./bin/sh": b"sh"}
    assert members(data)["./bin"].isdir()
    assert members(data)["./lib"].linkname == "/usr/lib"


def test_names_of_any_bytes_and_length(tmp_path: Path) -> None:
    names = ["é", "\udcff\n", f"{'d' * 120}/{'e' * 255}"]
    data = image(tmp_path, layer(*((name, "x") for name in names)))
    assert sorted(contents(data)) == sorted(f"./{name}" for name in names)


def test_sixty_layers(tmp_path: Path) -> None:
    """dockerTools fails above about 16 layers, because of the length of the mount options."""
    layers = [layer((f"{i:02d}", str(i)), ("top", str(i))) for i in range(60)]
    data = image(tmp_path, *layers, compress=True)
    assert contents(data)["./top"] == b"59"
    assert len(contents(data)) == 61


def test_large_files(tmp_path: Path) -> None:
    large = "0123456789" * 300_000
    data = image(tmp_path, layer(("a", "x" * 511), ("large", large), ("z", "")))
    assert contents(data)["./large"] == large.encode()
    assert len(data) % 10240 == 0


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_small_files_in_any_order(tmp_path: Path, step: int) -> None:
    """They are read together where they follow one another, and are not mixed up elsewhere."""
    count = 1009  # A prime number.
    sizes = [0, 1, 511, 512, 513, 5000, 60_000, 70_000]
    files = {f"f{i:04}": f"{i:07}" * (sizes[i % 8] // 7) for i in range(count)}
    shuffled = [f"f{i * step % count:04}" for i in range(count)]
    # Every third file is another one in the layer above, which leaves a gap.
    upper = {name: f"new {name}" for name in [*files][::3]}
    data = image(
        tmp_path,
        layer(*((name, files[name]) for name in shuffled)),
        layer(*upper.items()),
    )
    expected = {f"./{name}": text.encode() for name, text in (files | upper).items()}
    assert contents(data) == expected


@pytest.mark.slow
@pytest.mark.parametrize("form", [form.value for form in Format])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_every_form_gives_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sample_spec: Callable[..., Path],
    form: str,
    compression: str,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(MTIME))
    runner = CliRunner()
    spec = str(sample_spec(tmp_path))
    for target, options in (
        ("first", []),
        ("image", ["--format", form, "--compression", compression]),
    ):
        args = ["build", spec, "-q", "-o", str(tmp_path / target), *options]
        done = runner.invoke(main, args)
        assert done.exit_code == 0, (done.output, done.exception)
    args = ["export", str(tmp_path / "image"), "-o", str(tmp_path / "out.tar")]
    assert runner.invoke(main, args).exit_code == 0
    data = (tmp_path / "out.tar").read_bytes()
    assert data == exported(tmp_path / "first")
    assert "./bin/app" in members(data)


def test_an_image_is_chosen(tmp_path: Path) -> None:
    path = archive(tmp_path / "image.tar", [layer(("a", "x"))])
    assert contents(exported(path, name="x", tag="y")) == {"./a": b"x"}
    with pytest.raises(InputError, match=r"has no image x:z; it has x:y"):
        exported(path, name="x", tag="z")


def test_a_layout_of_several_images_is_no_surprise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = tmp_path / "layout"
    for name in ("x:one", "x:two"):
        one = archive(tmp_path / "image.tar", [layer((name, name))])
        copy_image(str(one), f"oci:{layout}:{name}")
    assert list(contents(exported(layout))) == ["./x:one"]
    assert caplog.messages == [
        f"{layout} has other images, too; this is x:one: choose one by its name or tag"
    ]
    caplog.clear()
    assert list(contents(exported(layout, tag="two"))) == ["./x:two"]
    assert caplog.messages == []


def test_a_layer_that_lies_is_found_before_anything_is_written(tmp_path: Path) -> None:
    path = archive(tmp_path / "image.tar", [layer(("a", "one")), layer(("b", "two"))])
    path.write_bytes(path.read_bytes().replace(b"two", b"owt"))
    written: list[object] = []
    with pytest.raises(ImageError, match="is damaged"):
        export_image(path, written.append, mtime=0)
    assert written == []


# A property test: tarfile reads all files of the layers back from the export.

NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20).filter(
        lambda name: name not in {".", ".."} and not name.startswith(".wh.")
    ),
    min_size=1,
    max_size=3,
).map("/".join)


@pytest.mark.slow
@given(st.lists(st.dictionaries(NAMES, st.binary(max_size=1500), max_size=5), max_size=3))
def test_what_layers_hold_is_in_the_export(
    tmp_path_factory: pytest.TempPathFactory, layers: list[Mapping[str, bytes]]
) -> None:
    expected: dict[str, bytes] = {}
    tars = []
    for files in layers:
        chosen = {
            name: data
            for name, data in files.items()
            if not any(_clash(name, other) for other in (*expected, *files) if other != name)
        }
        expected |= {f"./{name}": data for name, data in chosen.items()}
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, data in chosen.items():
                tar.addfile(entry(name, size=len(data)), io.BytesIO(data))
        tars.append(out.getvalue())
    path = archive(tmp_path_factory.mktemp("image") / "image.tar", tars)
    data = exported(path)
    assert contents(data) == expected
    names = [name.removeprefix("./").split("/") for name in members(data)][1:]
    assert names == sorted(names)


def _clash(name: str, other: str) -> bool:
    name, other = name.removeprefix("./"), other.removeprefix("./")
    return name.startswith(f"{other}/") or other.startswith(f"{name}/")


# The command.


def nixdock(
    *args: str | Path, stdout: int = subprocess.PIPE, umask: int = -1, **env: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "nixdock", *map(str, args)],
        env={**os.environ, "SOURCE_DATE_EPOCH": str(MTIME), **env},
        stdout=stdout,
        stderr=subprocess.PIPE,
        umask=umask,
        check=False,
        timeout=120,
    )


def test_standard_output_and_a_file_get_the_same(tmp_path: Path) -> None:
    path = archive(tmp_path / "image.tar", [layer(("a", "x"))])
    done = nixdock("export", path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == exported(path)
    assert nixdock("export", path, "-o", tmp_path / "out").stdout == b""
    assert (tmp_path / "out").read_bytes() == done.stdout


def test_nothing_around_changes_the_bytes(tmp_path: Path) -> None:
    path = archive(tmp_path / "image.tar", [layer(("é", "x"), ("a", ""), ("Z", ""))], compress=True)
    outputs = {
        nixdock("export", path).stdout,
        nixdock("export", path, umask=0o077, TZ="Asia/Kathmandu", LC_ALL="C").stdout,
        exported(path),
    }
    assert len(outputs) == 1


def test_all_or_nothing(tmp_path: Path) -> None:
    path = archive(tmp_path / "image.tar", [layer(("a", "one"))])
    path.write_bytes(path.read_bytes().replace(b"one", b"eno"))
    done = nixdock("export", path, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: %b: manifest.json[0]: Layers[0] is dam" % bytes(path))
    assert os.listdir(tmp_path) == ["image.tar"]


def test_much_data_gives_the_same_from_processes(tmp_path: Path) -> None:
    """Of small images, threads verify the layers."""
    large = layer(("a", "0123456789abcdef" * (3 << 20)))
    path = archive(tmp_path / "image.tar", [large, layer(("b", "one"), ("c/d", "x"))])
    done = [nixdock("export", path, NIX_BUILD_CORES=cores) for cores in ("1", "2")]
    assert [each.returncode for each in done] == [0, 0]
    assert done[0].stdout == done[1].stdout == exported(path)
    path.write_bytes(path.read_bytes().replace(b"one", b"eno"))
    done = [nixdock("export", path, NIX_BUILD_CORES=cores) for cores in ("1", "2")]
    assert [each.stdout for each in done] == [b"", b""]
    assert [each.returncode for each in done] == [1, 1]
    assert done[0].stderr == done[1].stderr
    assert b"manifest.json[0]: Layers[1] is damaged" in done[0].stderr


def test_a_terminal_is_refused(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    path = archive(tmp_path / "image.tar", [layer()])
    done = nixdock("export", path, stdout=theirs)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"standard output is a terminal; name a file with -o" in done.stderr


def test_an_xz_archive(tmp_path: Path) -> None:
    path = archive(tmp_path / "image.tar", [layer(("a", "x"))])
    expected = exported(path)
    path.write_bytes(lzma.compress(path.read_bytes()))
    assert exported(path) == expected


def test_tar_unpacks_it_as_it_was(tmp_path: Path) -> None:
    data = image(
        tmp_path,
        layer(("a", "x"), entry("b", tarfile.LNKTYPE, linkname="a"), link("c", "a"), ("d/e", "y")),
    )
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", "-", "-C", tmp_path / "out"], input=data, check=True)
    assert (tmp_path / "out/a").samefile(tmp_path / "out/b")
    assert (tmp_path / "out/c").readlink() == Path("a")
    assert (tmp_path / "out/d/e").read_text() == "y"
