"""Scripts that run as if by root: their view of the files, and the resulting layer."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.build.build import prepared_top_layer
from nixdock.errors import ImageError, NixdockError, PackError, ScriptError
from nixdock.read.merging import merged_tree
from nixdock.read.opening import open_image
from nixdock.rootfs.rootless.chroot import Mounts, shell_inside
from nixdock.rootfs.rootless.difference import Snapshot, difference
from nixdock.rootfs.rootless.extract import extract
from nixdock.rootfs.rootless.fakeroot import (
    FakeFile,
    Inode,
    fakeroot_program,
    format_state,
    parse_state,
    state_of_tree,
)
from nixdock.spec.reading import read_spec
from tests.unit.docker_archive import archive, directory, entry, layer, link

ids = st.integers(0, 2**32 - 2)


@given(
    st.dictionaries(
        st.builds(Inode, st.integers(0, 2**32), st.integers(1, 2**63)),
        st.builds(FakeFile, st.integers(0, 0o177777), ids, ids, st.integers(0, 2**32)),
    )
)
def test_a_formatted_state_is_parsed_again(state: dict[Inode, FakeFile]) -> None:
    assert parse_state(format_state(state.items())) == state


def test_a_state_that_fakeroot_wrote() -> None:
    line = "dev=fe00,ino=2695217,mode=20644,uid=0,gid=6,nlink=1,rdev=259\n"
    assert parse_state(line) == {Inode(0xFE00, 2695217): FakeFile(0o20644, 0, 6, 259)}
    with pytest.raises(NixdockError, match="has a malformed line"):
        parse_state("dev=x")


def inode_of(path: Path) -> Inode:
    info = path.lstat()
    return Inode(info.st_dev, info.st_ino)


def test_files_that_are_gone_have_no_state(tmp_path: Path) -> None:
    """Their inode numbers are those of new files, sooner or later."""
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").touch()
    (tree / "link").symlink_to("/nowhere")
    (tmp_path / "outside").touch()
    inside = [tree, tree / "a", tree / "a/b", tree / "a/b/file", tree / "link"]
    kept = {inode_of(path): FakeFile(0o100600, uid) for uid, path in enumerate(inside)}
    gone = {inode_of(tmp_path / "outside"): FakeFile(0o100600, 9)}
    assert state_of_tree(kept | gone, tree) == kept


def test_a_state_of_another_file_is_not_believed(tmp_path: Path) -> None:
    for name, mode in (("file", 0o40755), ("directory", 0o100644)):
        path = tmp_path / name
        path.touch() if name == "file" else path.mkdir()
        found = Snapshot.of(tmp_path, {inode_of(path): FakeFile(mode, 7)}).files[name.encode()]
        assert (found.is_directory, found.fake.uid) == (name == "directory", 0)
    device = {inode_of(tmp_path / "file"): FakeFile(stat.S_IFCHR | 0o600, 0, 0, 5)}
    assert Snapshot.of(tmp_path, device).files[b"file"].file_type == stat.S_IFCHR


def test_no_fakeroot() -> None:
    with pytest.raises(NixdockError, match=r"fakeroot is not in PATH.*perms"):
        fakeroot_program({"PATH": "/nowhere"})


# Differences.


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in ("kept/a", "kept/b", "gone/x/y", "remade/old", "file"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def changes(tree: Path, change: Callable[[], object]) -> dict[str, str]:
    """The contents or kinds of the members of the layer that `change` makes, by name."""
    before = Snapshot.of(tree, {})
    change()
    empty = tree.parent / "empty"
    empty.touch()
    members = difference(before, Snapshot.of(tree, {}), empty)
    return {
        m.name.decode(): Path(os.fsdecode(m.source)).read_text()
        if m.kind == b"0"
        else m.kind.decode()
        for m in members
    }


def test_unchanged_files_are_not_in_the_layer(tree: Path) -> None:
    assert changes(tree, lambda: None) == {"/": "5"}


def test_changed_files_come_with_their_directories(tree: Path) -> None:
    assert changes(tree, lambda: (tree / "kept/a").write_text("new")) == {
        "/": "5", "/kept/": "5", "/kept/a": "new",
    }  # fmt: skip


def test_a_mode_alone_is_a_change(tree: Path) -> None:
    assert "/file" in changes(tree, lambda: (tree / "file").chmod(0o600))


def test_removed_files_get_whiteouts(tree: Path) -> None:
    assert changes(tree, lambda: shutil.rmtree(tree / "gone")) == {"/": "5", "/.wh.gone": ""}
    assert list(changes(tree, (tree / "kept/b").unlink)) == ["/", "/kept/", "/kept/.wh.b"]


@pytest.mark.parametrize("other_number", [False, True])
def test_a_replaced_directory_is_compared_by_its_files(tree: Path, other_number: bool) -> None:
    # A file system may give the new directory the inode number of the old one, or not.
    def remake() -> None:
        (tree / "kept/b").rename(tree / "b")
        if other_number:
            (tree / "remade").rename(tree / "away")
            shutil.copytree(tree / "kept", tree / "new")
            shutil.rmtree(tree / "kept")
            (tree / "new").rename(tree / "kept")
            shutil.rmtree(tree / "away")
            (tree / "remade").mkdir()
        else:
            (tree / "remade/old").unlink()
            (tree / "kept/a").touch()
        (tree / "b").rename(tree / "kept/b")
        (tree / "remade/new").write_text("new")

    assert changes(tree, remake) == {
        "/": "5", "/kept/": "5", "/kept/a": "kept/a", "/kept/b": "kept/b",
        "/remade/": "5", "/remade/.wh.old": "", "/remade/new": "new",
    }  # fmt: skip


def test_files_and_directories_replace_each_other(tree: Path) -> None:
    def swap() -> None:
        shutil.rmtree(tree / "kept")
        (tree / "kept").write_text("file now")
        (tree / "file").unlink()
        (tree / "file").mkdir()

    assert changes(tree, swap) == {"/": "5", "/file/": "5", "/kept": "file now"}


def test_links_and_pipes_are_members_and_sockets_are_not(
    tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import socket

    def add() -> None:
        (tree / "link").symlink_to("file")
        os.mkfifo(tree / "pipe")
        with socket.socket(socket.AF_UNIX) as bound:
            here = Path.cwd()
            os.chdir(tree)
            try:
                bound.bind("socket")
            finally:
                os.chdir(here)

    assert changes(tree, add) == {"/": "5", "/link": "2", "/pipe": "6"}
    assert "/socket is left out: it is a socket" in caplog.text


def test_a_file_with_the_name_of_a_whiteout(tree: Path) -> None:
    with pytest.raises(PackError, match=r"/\.wh\.x has the name of a whiteout"):
        changes(tree, (tree / ".wh.x").touch)


@pytest.mark.parametrize(
    ("kind", "device", "fault"),
    [
        (stat.S_IFCHR, os.makedev(0, 0), "0:0, which overlayfs takes for a whiteout"),
        (stat.S_IFCHR, os.makedev(1, 1 << 21), "1:2097152, which is out of range"),
        (stat.S_IFBLK, os.makedev(1 << 12, 1), "4096:1, which is out of range"),
    ],
)
def test_a_device_that_no_runtime_takes(tree: Path, kind: int, device: int, fault: str) -> None:
    """fakeroot lets a script make any; the longest numbers do not even fit into a tar header."""
    (tree / "device").touch()
    info = (tree / "device").lstat()
    fakes = {Inode(info.st_dev, info.st_ino): FakeFile(kind | 0o600, rdev=device)}
    with pytest.raises(PackError) as caught:
        difference(Snapshot(), Snapshot.of(tree, fakes), tree / "device")
    assert str(caught.value) == f"/device is a device {fault}; the script must not create it"


def test_unreadable_files_are_made_readable_and_keep_their_mode(tree: Path) -> None:
    (tree / "kept/a").chmod(0)
    (tree / "kept").chmod(0o500)
    files = Snapshot.of(tree, {}).files
    assert stat.S_IMODE(files[b"kept/a"].fake.mode) == 0
    assert stat.S_IMODE(files[b"kept"].fake.mode) == 0o500
    assert (tree / "kept/a").stat().st_mode & 0o777 == 0o400
    assert (tree / "kept").stat().st_mode & 0o777 == 0o700


# Extracting a base image.


def test_a_base_image_is_extracted_with_its_attributes_as_state(tmp_path: Path) -> None:
    lower = layer(
        directory("bin", mode=0o555, uid=3),
        entry("bin/su", mode=0o4755, size=0),
        entry("null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        entry("hard", tarfile.LNKTYPE, linkname="bin/su", mode=0o4755),
        link("abs", "/etc/passwd"),
        directory("etc"),
        ("etc/passwd", "root"),
    )
    (tmp_path / "root").mkdir()
    with (
        open_image(archive(tmp_path / "base.tar", [lower])) as file,
        merged_tree(file.images[0].layers) as tree,
    ):
        fakes = extract(tree, tmp_path / "root")
    files = Snapshot.of(tmp_path / "root", fakes).files
    assert sorted(files) == [
        b"",
        b"abs",
        b"bin",
        b"bin/su",
        b"etc",
        b"etc/passwd",
        b"hard",
        b"null",
    ]
    assert files[b"bin"].fake == FakeFile(stat.S_IFDIR | 0o555, 3)
    assert files[b"bin/su"].fake == FakeFile(stat.S_IFREG | 0o4755)
    assert files[b"bin/su"].inode == files[b"hard"].inode
    assert files[b"null"].fake == FakeFile(stat.S_IFCHR | 0o666, rdev=os.makedev(1, 3))
    assert not stat.S_ISCHR((tmp_path / "root/null").stat().st_mode)
    assert (tmp_path / "root/bin/su").stat().st_mode & 0o7000 == 0


@pytest.mark.parametrize(
    ("time", "extracted"), [(1 << 62, 0), (-5, 0), (1.5, 1.5), ((1 << 63) // 10**9 - 1, None)]
)
def test_times_that_the_system_may_not_know(
    tmp_path: Path, time: float, extracted: float | None
) -> None:
    (tmp_path / "root").mkdir()
    lower = layer(entry("file", mtime=time))
    with (
        open_image(archive(tmp_path / "base.tar", [lower])) as file,
        merged_tree(file.images[0].layers) as tree,
    ):
        extract(tree, tmp_path / "root")
    found = (tmp_path / "root/file").stat().st_mtime
    # File systems end in different years.
    assert found == extracted if extracted is not None else found > 0


def test_names_that_the_file_system_can_not_hold(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    deep = layer((("d" * 200 + "/") * 20 + "f" * 70, ""))
    with (
        open_image(archive(tmp_path / "base.tar", [deep])) as file,
        merged_tree(file.images[0].layers) as tree,
        pytest.raises(ImageError, match="can't extract "),
    ):
        extract(tree, tmp_path / "root")


# Roots.


def test_mount_points_are_made_and_removed(tmp_path: Path) -> None:
    root, source = tmp_path / "root", tmp_path / "source"
    (root / "dev").mkdir(parents=True)
    source.mkdir()
    (tmp_path / "file").touch()
    mounts = Mounts("run_as_root", root, "/nowhere")
    for target in ("/dev", "/a/b", "/a/c"):
        mounts.add(str(source), target)
    mounts.add(str(tmp_path / "file"), "/a/f")
    mounts.add(str(tmp_path / "missing"), "/z")
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*")) == [
        "a", "a/b", "a/c", "a/f", "dev",
    ]  # fmt: skip
    (root / "a/kept").touch()
    mounts.remove_mount_points()
    assert sorted(str(p.relative_to(root)) for p in root.rglob("*")) == ["a", "a/kept", "dev"]


@pytest.mark.parametrize("target", ["/dev", "/link/store"])
def test_mount_points_never_lead_through_links(tmp_path: Path, target: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / target.split("/")[1]).symlink_to(tmp_path / "outside")
    with pytest.raises(ScriptError, match="in the image is not a directory") as caught:
        Mounts("run_as_root", tmp_path / "root", "/nowhere").add(str(tmp_path), target)
    assert (caught.value.key, caught.value.path) == ("run_as_root", f"/{target.split('/')[1]}")
    assert not any((tmp_path / "outside").iterdir())


def test_mount_points_are_not_removed_through_links(tmp_path: Path) -> None:
    """A script may put links in the place of the directories that had the mount points."""
    root, source, victim = (tmp_path / name for name in ("root", "source", "victim"))
    for path in (root, source, victim / "b", victim / "c/d"):
        path.mkdir(parents=True)
    (tmp_path / "file").touch()
    (victim / "f").touch()
    mounts = Mounts("run_as_root", root, "/nowhere")
    for target in ("/a/b", "/a/c/d", "/e/b"):
        mounts.add(str(source), target)
    for target in ("/a/f", "/e/f"):
        mounts.add(str(tmp_path / "file"), target)
    (root / "a").rename(root / "moved")
    (root / "a").symlink_to(victim)
    (root / "e/f").write_text("of the script")
    mounts.remove_mount_points()
    assert sorted(path.name for path in victim.rglob("*")) == ["b", "c", "d", "f"]
    assert (root / "e/f").read_text() == "of the script"
    assert not (root / "e/b").exists()


def test_no_shell(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="there is none in the image") as caught:
        shell_inside("run_as_root", tmp_path, "/nix/store", "/usr/bin:/bin")
    assert caught.value.key == "run_as_root"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").touch()
    assert shell_inside("run_as_root", tmp_path, "/nix/store", None) == "/bin/sh"


def test_the_shell_of_the_store_may_come_after_others_in_path(tmp_path: Path) -> None:
    directories = [tmp_path / "usr/bin", tmp_path / "nix/store/x-bash/bin"]
    for each in directories:
        each.mkdir(parents=True)
        (each / "bash").touch(0o755)
    path = os.pathsep.join(["", *map(str, directories)])
    shell = shell_inside("run_as_root", tmp_path, f"{tmp_path}/nix/store", path)
    assert shell == str(directories[1] / "bash")


# With this machine's fakeroot, through the same functions as the commands.


def top_layer_members(tmp_path: Path, **keys: object) -> dict[str, tarfile.TarInfo]:
    """The members of the top layer of a spec with `keys`."""
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"version": 1, "name": "x", **keys}))
    out = io.BytesIO()
    with prepared_top_layer(read_spec(spec)) as source:
        source.pack(out.write)
        sized = source.sized(())
        again = io.BytesIO()
        sized.write_to(again.write)
    assert again.getvalue() == out.getvalue()
    assert len(out.getvalue()) == sized.size
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        return {member.name: member for member in tar}


@pytest.mark.runtime
def test_fake_root_commands(tmp_path: Path) -> None:
    found = top_layer_members(
        tmp_path,
        extra_commands="mkdir etc",
        fake_root_commands="""
          [ "$(id -u)" = 0 ]
          mkdir -p home/alice; touch home/alice/f; chown -R 1000:100 home/alice
          touch su; chmod 6755 su; mknod null c 1 3; mkdir -m 1777 tmp; chmod 0 home/alice/f
        """,
    )
    alice, su, null = found["/home/alice"], found["/su"], found["/null"]
    assert (alice.uid, alice.gid, alice.isdir()) == (1000, 100, True)
    assert found["/home/alice/f"].mode == 0
    assert (su.uid, su.mode) == (0, 0o6755)
    assert (null.ischr(), null.devmajor, null.devminor) == (True, 1, 3)
    assert found["/tmp"].mode == 0o1777
    assert list(found) == sorted(found)


@pytest.mark.runtime
def test_files_of_root_scripts_have_no_other_owner(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = top_layer_members(tmp_path, owner={"uid": 5}, fake_root_commands="touch a")
    assert found["/a"].uid == 0
    (message,) = caplog.messages
    assert message == (
        "owner is ignored, because scripts run as if by root, who owns the files; change owners"
        " there, or with perms"
    )


@pytest.mark.runtime
@pytest.mark.parametrize("key", ["fake_root_commands", "run_as_root"])
def test_a_root_script_that_fails(tmp_path: Path, key: str) -> None:
    keys = {key: "false; echo not reached"}
    with pytest.raises(NixdockError, match=f"{key} failed with exit status 1|needs a shell"):
        top_layer_members(tmp_path, **keys)


BUSYBOX = shutil.which("busybox")


def with_busybox(tmp_path: Path, *files: Sequence[object]) -> Path:
    """A base image with a static shell."""
    assert BUSYBOX is not None, "install busybox-static"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(directory("usr/bin"))
        info = entry("usr/bin/busybox", mode=0o755, size=Path(BUSYBOX).stat().st_size)
        with Path(BUSYBOX).open("rb") as program:
            tar.addfile(info, program)
        tar.addfile(link("bin", "usr/bin"))
        tar.addfile(link("usr/bin/sh", "busybox"))
        for name in ("etc/gone", "etc/kept"):
            tar.addfile(entry(name))
        tar.addfile(directory("home", uid=7, mode=0o750))
    return archive(tmp_path / "base.tar", [out.getvalue()])


@pytest.mark.runtime
def test_a_static_program_as_root_of_a_base_image(tmp_path: Path) -> None:
    (tmp_path / "tree/bin").mkdir(parents=True)
    (tmp_path / "tree/bin/mine").write_text("x")
    found = top_layer_members(
        tmp_path,
        from_image={"path": str(with_busybox(tmp_path))},
        contents=[str(tmp_path / "tree")],
        copy_contents=True,
        run_as_root="""
          busybox rm /etc/gone
          busybox ls / > /root-directory
          busybox touch /home/new
          [ "$(busybox id -u)" = 0 ]
          [ -d /proc/1 ] && [ -c /dev/null ]
          busybox touch /tmp/scratch; busybox rm /tmp/scratch
        """,
    )
    assert sorted(found) == [
        "", "/etc", "/etc/.wh.gone", "/home", "/home/new", "/root-directory", "/tmp", "/usr",
        "/usr/bin", "/usr/bin/mine",
    ]  # fmt: skip
    assert found["/tmp"].mode == 0o1777
    assert (found["/home"].uid, found["/home"].mode) == (7, 0o750)


@pytest.mark.runtime
def test_directories_of_a_base_image_keep_their_owners_without_a_chroot(tmp_path: Path) -> None:
    found = top_layer_members(
        tmp_path,
        from_image={"path": str(with_busybox(tmp_path))},
        fake_root_commands="mkdir -p home/alice bin; touch bin/x; chown 5 home/alice",
    )
    assert sorted(found) == ["", "/home", "/home/alice", "/usr", "/usr/bin", "/usr/bin/x"]
    assert (found["/home"].uid, found["/home"].mode) == (7, 0o750)
    assert found["/home/alice"].uid == 5


@pytest.mark.runtime
@pytest.mark.parametrize("chroot", [False, True])
def test_static_programs_may_give_files_away(tmp_path: Path, chroot: bool) -> None:
    busybox = "/bin/busybox" if chroot else BUSYBOX
    found = top_layer_members(
        tmp_path,
        from_image={"path": str(with_busybox(tmp_path))},
        enable_fakechroot=chroot,
        fake_root_commands=f"""
          {busybox} mkdir -p a/b; {busybox} touch a/b/c plain again
          {busybox} ln -s /a/b/c absolute 2>&1; {busybox} ln -s a/b/c link
          {busybox} chown -R 5:6 a
          {busybox} chown -h 7 link
          {busybox} chown :8 plain
          {busybox} touch gone; {busybox} chown 9 gone; {busybox} rm gone; {busybox} touch new
          {"cd /; " if chroot else ""}{busybox} chown 10:11 {"absolute" if chroot else "a/../again"}
          ! {busybox} chown 1 missing
        """,
    )
    owners = {name: (m.uid, m.gid) for name, m in found.items()}
    assert owners["/a"] == owners["/a/b"] == (5, 6)
    assert owners["/a/b/c"] == ((10, 11) if chroot else (5, 6))
    assert owners["/link"] == (7, 0)
    assert owners["/plain"] == (0, 8), "busybox asks the kernel for the owner"
    assert owners["/new"] == (0, 0)
    assert owners["/again"] == ((0, 0) if chroot else (10, 11))
