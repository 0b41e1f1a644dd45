"""Statically linked programs: fakeroot remembers their changes like those of all programs."""

from __future__ import annotations

import fcntl
import io
import json
import resource
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nixdock.build.build import prepared_top_layer
from nixdock.rootfs.rootless import calls
from nixdock.spec.reading import read_spec
from tests.unit.docker_archive import archive, directory, entry, link

pytestmark = pytest.mark.runtime

BUSYBOX = shutil.which("busybox")


def spec_members(tmp_path: Path, **keys: object) -> dict[str, tarfile.TarInfo]:
    """The members of the top layer of a spec with `keys`."""
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({"version": 1, "name": "x", **keys}))
    out = io.BytesIO()
    with prepared_top_layer(read_spec(file)) as source:
        source.pack(out.write)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        return {member.name: member for member in tar}


def layer_members(
    tmp_path: Path, script: str, base: Path | None = None
) -> dict[str, tarfile.TarInfo]:
    """The members of the layer that `script` makes; with a base image, in its root."""
    key = "fake_root_commands" if base is None else "run_as_root"
    spec: dict[str, object] = {key: f'busybox() {{ {BUSYBOX} "$@"; }}\n{script}'}
    if base is not None:
        spec |= {"from_image": {"path": str(base)}, key: script}
    return spec_members(tmp_path, **spec)


# No capability, effectively.
CAPABILITY = "\x01\0\0\x02" + "\0" * 16


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An image with a static shell and files of several kinds."""
    assert BUSYBOX is not None, "install busybox-static"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        with Path(BUSYBOX).open("rb") as program:
            size = Path(BUSYBOX).stat().st_size
            tar.addfile(entry("bin/busybox", mode=0o755, size=size), program)
        tar.addfile(link("bin/sh", "busybox"))
        for i in range(20):
            tar.addfile(entry(f"etc/secret{i}", mode=0o640, uid=7, gid=42))
        tar.addfile(entry("etc/shadow", mode=0))
        tar.addfile(directory("tmp", mode=0o1777))
        tar.addfile(entry("dev1", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3))
        for name in ("ping", "written", "given"):
            capability = {"SCHILY.xattr.security.capability": CAPABILITY}
            tar.addfile(entry(f"usr/{name}", mode=0o755, pax_headers=capability))
        tar.addfile(directory("usr/acl", pax_headers={"SCHILY.xattr.user.x": "y"}))
    return archive(tmp_path / "base.tar", [out.getvalue()])


def test_the_last_owner_counts_whichever_program_set_it(tmp_path: Path) -> None:
    found = layer_members(
        tmp_path,
        """
        touch a b c
        busybox chown 5:5 a; chown 6 a
        chown 5 b; busybox chown 6:6 b
        busybox chown 7:8 c; [ "$(stat -c %u:%g c)" = 7:8 ]; cp -p c d
        """,
    )
    owners = {name: (member.uid, member.gid) for name, member in found.items()}
    assert (owners["/a"], owners["/b"]) == ((6, 5), (6, 6))
    assert owners["/c"] == owners["/d"] == (7, 8), "other programs see the owner"


def test_modes_and_devices(tmp_path: Path) -> None:
    found = layer_members(
        tmp_path,
        """
        umask 027
        touch a b; mkdir d; chown 3 a b d
        busybox chmod 604 a; chmod 4755 b; busybox chmod u-x,g-x b; busybox chmod 1711 d
        busybox mknod null c 1 3; busybox mknod -m 666 big b 259 1048575; busybox mkfifo p
        ! busybox mknod null b 7 0
        """,
    )
    assert found["/a"].mode == 0o604
    assert (found["/b"].mode & 0o777, found["/b"].uid) == (0o645, 3)
    assert (found["/d"].mode, found["/d"].isdir()) == (0o1711, True)
    assert (found["/null"].ischr(), found["/null"].mode) == (True, 0o640)
    assert (found["/null"].devmajor, found["/null"].devminor) == (1, 3)
    assert (found["/big"].isblk(), found["/big"].mode) == (True, 0o666)
    assert (found["/big"].devmajor, found["/big"].devminor) == (259, 1048575)
    assert found["/p"].isfifo()


def test_modes_of_a_base_images_files(tmp_path: Path, base: Path) -> None:
    found = layer_members(tmp_path, "busybox chmod 600 /etc/secret1; chmod 4711 /etc/secret2", base)
    one, two = found["/etc/secret1"], found["/etc/secret2"]
    assert (one.mode, one.uid, one.gid) == (0o600, 7, 42)
    assert (two.mode, two.uid, two.gid) == (0o4711, 7, 42)
    assert sorted(found) == ["", "/etc", "/etc/secret1", "/etc/secret2"]


def test_new_files_inherit_nothing_from_removed_ones(tmp_path: Path, base: Path) -> None:
    # File systems reuse the inode numbers of removed files.
    found = layer_members(
        tmp_path,
        """
        for i in 0 1 2 3 4 5 6 7 8 9; do rm /etc/secret$i; done
        for i in 10 11 12 13 14 15 16 17 18 19; do echo > /etc/new; mv /etc/new /etc/secret$i; done
        mknod /gone c 1 5; rm /gone; rm -r /dev1
        mkdir /d; chown 9 /d; chmod 700 /d; rmdir /d
        mkdir /fresh; for i in 0 1 2 3 4 5 6 7 8 9; do echo > /fresh/$i; mkdir /fresh/d$i; done
        """,
        base,
    )
    new = [member for name, member in found.items() if name.startswith("/fresh/")]
    assert {(m.uid, m.gid, m.mode, m.type) for m in new} == {
        (0, 0, 0o644, tarfile.REGTYPE),
        (0, 0, 0o755, tarfile.DIRTYPE),
    }
    assert {(found[f"/etc/secret{i}"].uid, found[f"/etc/secret{i}"].mode) for i in (10, 19)} == {
        (0, 0o644)
    }
    assert {"/etc/.wh.secret0", "/etc/.wh.secret9", "/.wh.dev1"} < found.keys()


@pytest.mark.parametrize("copy", [False, True])
def test_contents_inherit_nothing_from_the_files_that_they_replace(
    tmp_path: Path, base: Path, copy: bool
) -> None:
    content = tmp_path / f"root/nix/store/{'a' * 32}-a"
    (content / "etc").mkdir(parents=True)
    for i in range(10):
        (content / f"etc/secret{i}").write_text("mine")
        (content / f"etc/secret{i + 10}").symlink_to("secret1")
    found = spec_members(
        tmp_path,
        from_image={"path": str(base)},
        store={"root": str(tmp_path / "root")},
        contents=[f"/nix/store/{content.name}"],
        copy_contents=copy,
        enable_fakechroot=True,
        fake_root_commands="busybox mkdir /fresh; for i in 0 1 2 3 4 5; do echo > /fresh/$i; done",
    )
    files = [member for name, member in found.items() if name.startswith(("/etc/", "/fresh/"))]
    assert len(files) == 20 + 6
    assert {(member.uid, member.gid, member.mode) for member in files if member.isfile()} == {
        (0, 0, 0o644)
    }
    links = [member for member in files if member.issym()]
    assert len(links) == (10 if copy else 20)
    assert {(member.uid, member.gid) for member in links} == {(0, 0)}


def test_a_script_between_those_of_root_inherits_nothing_from_removed_files(
    tmp_path: Path, base: Path
) -> None:
    found = spec_members(
        tmp_path,
        from_image={"path": str(base)},
        run_as_root="""
          for i in 0 1 2 3 4; do echo > /su$i; done
          busybox chown 5:5 /su*; busybox chmod 4711 /su*; busybox mkdir /d; busybox chown 5 /d
        """,
        extra_commands="""
          rm su? etc/secret?; rmdir d
          mkdir fresh; for i in 0 1 2 3 4 5 6 7; do echo > fresh/$i; ln -s x fresh/l$i; done
          mv etc/secret19 etc/moved
        """,
    )
    new = [member for name, member in found.items() if name.startswith("/fresh")]
    assert {(m.uid, m.gid, m.mode, m.type) for m in new} == {
        (0, 0, 0o755, tarfile.DIRTYPE),
        (0, 0, 0o644, tarfile.REGTYPE),
        (0, 0, 0o777, tarfile.SYMTYPE),
    }
    moved = found["/etc/moved"]
    assert (moved.uid, moved.gid, moved.mode) == (7, 42, 0o640)


def test_mount_points_can_not_be_removed(tmp_path: Path, base: Path) -> None:
    found = layer_members(
        tmp_path,
        """
        ! rmdir /proc; ! mv /bin/busybox /missing/x
        [ -d /proc/1 ]; ! rmdir /usr; ! rm /missing
        touch /done; chown 5 /done
        """,
        base,
    )
    assert sorted(found) == ["", "/done"]


@contextmanager
def at_most_open(files: int) -> Iterator[None]:
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, old)


def test_more_files_than_may_be_open(tmp_path: Path) -> None:
    with at_most_open(100):
        found = layer_members(
            tmp_path, "mkdir d; cd d; seq 300 | xargs touch; busybox chown -R 5:6 ../d"
        )
    assert {(m.uid, m.gid) for name, m in found.items() if name} == {(5, 6)}
    assert len(found) == 302


def test_unchanged_files_keep_extended_attributes(tmp_path: Path, base: Path) -> None:
    found = layer_members(
        tmp_path,
        """
        chmod 700 /usr/ping; echo > /usr/written; chown 5 /usr/given; touch /usr/acl/new
        busybox mv /usr/ping /usr/pong
        """,
        base,
    )
    key = "SCHILY.xattr.security.capability"
    assert found["/usr/pong"].pax_headers[key] == CAPABILITY
    assert found["/usr/pong"].mode == 0o700
    assert found["/usr/acl"].pax_headers["SCHILY.xattr.user.x"] == "y"
    assert key not in found["/usr/written"].pax_headers
    assert key not in found["/usr/given"].pax_headers, "a new owner removes capabilities"


def test_an_unreadable_file_of_the_base_is_no_change(tmp_path: Path, base: Path) -> None:
    assert sorted(layer_members(tmp_path, "touch /new", base)) == ["", "/new"]
    shadow = layer_members(tmp_path, "chown 4 /etc/shadow", base)["/etc/shadow"]
    assert (shadow.uid, shadow.mode) == (4, 0)


def test_a_script_may_empty_the_temporary_directory(tmp_path: Path, base: Path) -> None:
    found = layer_members(
        tmp_path, "mkdir -p /tmp; rm -rf /tmp/* /.nix*/x; touch /y; chown 5 /y", base
    )
    assert found["/y"].uid == 5


def test_processes_that_a_script_leaves_behind_are_killed(tmp_path: Path, base: Path) -> None:
    # A process left behind would keep the pipe open, and write after the layer was made.
    found = layer_members(tmp_path, "(sleep 600; touch /late) & touch /new; [ $$ = 1 ]", base)
    assert sorted(found) == ["", "/new"]
    running = [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.parent.exists() and _command(path) == [b"sleep", b"600"]
    ]
    assert not running


def _command(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\0")[:2]
    except OSError:
        return []


@pytest.mark.parametrize(
    ("release", "supported"),
    [("5.4.0-1-amd64", False), ("5.5", True), ("6.1.0", True), ("10.0", True)],
)
def test_kernels_that_support_continuing_a_call(release: str, supported: bool) -> None:
    assert calls._supports_continue(release) is supported


@pytest.mark.parametrize(("switch", "owner"), [("0", 0), ("1", 5)])
def test_the_emulation_can_be_turned_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str, owner: int
) -> None:
    monkeypatch.setenv("NIXDOCK_STATIC_PROGRAMS", switch)
    found = layer_members(tmp_path, "touch a; busybox chown 5 a || true")
    assert found["/a"].uid == owner


def test_a_notification_is_valid_while_its_caller_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is asked with the notification's own number."""
    asked = []

    def ioctl(listener: int, request: int, data: bytes) -> None:
        asked.append((listener, request, int.from_bytes(data, sys.byteorder)))
        if len(asked) > 1:
            raise FileNotFoundError

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    notification = calls.Notification(7, 1, "chown", 0, ())
    assert calls.is_waiting(3, notification)
    assert not calls.is_waiting(3, notification)
    assert asked == [(3, 0x80082102, 7)] * 2
