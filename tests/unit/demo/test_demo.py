"""The closure that is part of nixdock: unpacked as Nix built it, and able to run."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from nixdock import demo
from nixdock.demo import ARCHITECTURES, DemoClosure, native_architecture, unpacked_closure
from nixdock.errors import StoreError

PACKAGE = Path(demo.__file__).parent
REBUILD = PACKAGE / "src/rebuild.py"


@pytest.fixture(params=ARCHITECTURES)
def unpacked(request: pytest.FixtureRequest) -> Iterator[DemoClosure]:
    with unpacked_closure(request.param) as closure:
        yield closure


def nar_string(data: bytes) -> bytes:
    return struct.pack("<Q", len(data)) + data + b"\0" * (-len(data) % 8)


def nar_node(path: Path) -> bytes:
    """The NAR serialisation of a tree, as defined in Dolstra's thesis."""
    out = [b"(", b"type"]
    if path.is_symlink():
        out += [b"symlink", b"target", os.fsencode(os.readlink(path))]
    elif path.is_dir():
        packed = b"".join(map(nar_string, [*out, b"directory"]))
        for child in sorted(path.iterdir(), key=lambda child: os.fsencode(child.name)):
            entry = [b"entry", b"(", b"name", os.fsencode(child.name), b"node"]
            packed += b"".join(map(nar_string, entry)) + nar_node(child) + nar_string(b")")
        return packed + nar_string(b")")
    else:
        out.append(b"regular")
        if path.stat().st_mode & stat.S_IXUSR:
            out += [b"executable", b""]
        out += [b"contents", path.read_bytes()]
    return b"".join(map(nar_string, [*out, b")"]))


def nar(path: Path) -> bytes:
    return nar_string(b"nix-archive-1") + nar_node(path)


def test_the_serialiser_gives_the_hash_of_nix(tmp_path: Path) -> None:
    # The output of `nix hash path` for an empty directory.
    known = "0sjjj9z1dhilhpc8pq4154czrb79z9cm044jvn75kxcjv6v5l2m5"
    digest = hashlib.sha256(nar(tmp_path)).digest()
    number = int.from_bytes(digest, "little")
    alphabet = "0123456789abcdfghijklmnpqrsvwxyz"
    assert "".join(alphabet[number >> 5 * i & 31] for i in reversed(range(52))) == known


def test_unpacked_store_paths_have_their_nar_hashes(unpacked: DemoClosure) -> None:
    infos = list(unpacked.closure)
    assert sorted(info.path.name for info in infos) == [
        "nixdock-demo",
        "nixdock-demo-greeting.txt",
        "nixdock-demo-licence",
        "nixdock-demo-profile",
    ]
    for info in infos:
        archive = nar(Path(f"{unpacked.root}{info.path}"))
        assert info.nar_hash is not None
        assert (info.nar_size, info.nar_hash.base16) == (
            len(archive),
            hashlib.sha256(archive).hexdigest(),
        )


def test_references_are_those_in_the_files(unpacked: DemoClosure) -> None:
    paths = {info.path.hash_part: info.path for info in unpacked.closure}
    for info in unpacked.closure:
        archive = nar(Path(f"{unpacked.root}{info.path}"))
        held = {path for part, path in paths.items() if part.encode() in archive}
        assert held - {info.path} == set(info.references)


def test_the_licence_is_that_of_the_project(unpacked: DemoClosure) -> None:
    (path,) = (info.path for info in unpacked.closure if info.path.name == "nixdock-demo-licence")
    shipped = Path(f"{unpacked.root}{path}/licenses/nixdock-demo/LICENSE").read_text()
    assert shipped == (PACKAGE.parents[1] / "LICENSE").read_text()


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_are_those_of_a_store_under_any_umask(umask: int) -> None:
    previous = os.umask(umask)
    try:
        with unpacked_closure("amd64") as closure:
            found = list((closure.root / "nix/store").rglob("*"))
            modes = {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_file()}
            directories = {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_dir()}
    finally:
        os.umask(previous)
    assert (modes, directories) == ({0o444, 0o555}, {0o555})


def test_the_temporary_directory_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt), unpacked_closure("amd64"):
        assert list(tmp_path.iterdir())
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["/etc/passwd", "nix/store/../../x", "nix/store", "etc/x"])
def test_a_member_outside_the_store_is_refused(tmp_path: Path, name: str) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(StoreError, match="which is not in a store path"):
        demo._unpack(data.getvalue(), root)
    assert not list(root.iterdir())


def test_it_is_small() -> None:
    shipped = [PACKAGE / "closure.tar", PACKAGE / "graph.json", *(PACKAGE / "src").glob("*.*")]
    assert sum(path.stat().st_size for path in shipped) < 40_000


def test_files_are_found_as_package_data() -> None:
    names = {entry.name for entry in files("nixdock.demo").iterdir()}
    assert {"closure.tar", "graph.json"} <= names


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [("x86_64", "amd64"), ("aarch64", "arm64"), ("arm64", "arm64"), ("riscv64", "amd64")],
)
def test_the_native_architecture(
    monkeypatch: pytest.MonkeyPatch, machine: str, architecture: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert native_architecture() == architecture


def test_the_program_needs_only_the_kernel(unpacked: DemoClosure) -> None:
    program = Path(f"{unpacked.root}{unpacked.program}").read_bytes()
    ident, machine = program[:7], struct.unpack_from("<H", program, 18)[0]
    assert ident == b"\x7fELF\x02\x01\x01"
    assert machine == {"amd64": 62, "arm64": 183}[unpacked.architecture]
    offset, size, count = (
        *struct.unpack_from("<Q", program, 32),
        *struct.unpack_from("<HH", program, 54),
    )
    types = [struct.unpack_from("<I", program, offset + i * size)[0] for i in range(count)]
    load, gnu_stack = 1, 0x6474E551
    # One segment loads with any page size; without an interpreter there are no libraries.
    assert types == [load, gnu_stack]


def in_root(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as process 1 with `root` as its root directory."""
    assert shutil.which("unshare"), "unshare is missing: apt-get install util-linux"
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    return subprocess.run(
        ["unshare", *user, "--pid", "--fork", "chroot", str(root), *command],
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.fixture
def native() -> Iterator[DemoClosure]:
    with unpacked_closure(native_architecture()) as closure:
        yield closure


@pytest.mark.tools
def test_the_program_runs_with_only_its_closure(native: DemoClosure) -> None:
    done = in_root(native.root, native.program, "one", "two words")
    assert (done.returncode, done.stderr) == (0, "")
    greeting, blank, *lines = done.stdout.splitlines()
    assert (greeting, blank) == (
        "Hello from a Nix closure: four store paths, no base image, no shell, no C library.",
        "",
    )
    host = f"{os.uname().nodename} ({os.uname().machine})"
    assert lines == [
        f"program    {native.program}",
        "arguments  one two words",
        f"host       {host}",
        "process    1, the container's first and only one",
    ]


@pytest.mark.tools
def test_the_program_reports_a_missing_greeting(native: DemoClosure) -> None:
    (greeting,) = (native.root / "nix/store").glob("*-nixdock-demo-greeting.txt")
    greeting.unlink()
    done = in_root(native.root, native.program)
    path = f"/{greeting.relative_to(native.root)}"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"nixdock-demo: can't open {path}\n"


@pytest.mark.nix
def test_nix_builds_the_shipped_bytes(tmp_path: Path) -> None:
    for tool, package in {
        "nix-build": "nix-bin",
        "x86_64-linux-gnu-gcc": "gcc",
        "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    }.items():
        assert shutil.which(tool), f"{tool} is missing: apt-get install {package}"
    done = subprocess.run(
        [sys.executable, str(REBUILD), "--output", str(tmp_path)],
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    built = set(re.findall(r"^building '/nix/store/\w+-(\S+)\.drv'", done.stderr, re.MULTILINE))
    assert "nixdock-demo" in built
    for name in ("graph.json", "closure.tar"):
        assert (tmp_path / name).read_bytes() == (PACKAGE / name).read_bytes(), name
