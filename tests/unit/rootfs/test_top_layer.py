"""The top layer: its script, and writing and reading it."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from nixdock.errors import NixdockError, PackError, SpecError
from nixdock.layers.layer import Layer
from nixdock.rootfs.confinement import Confinement
from nixdock.rootfs.packed_layer import read_top_layer, write_top_layer
from nixdock.rootfs.scripts import run_script
from nixdock.rootfs.top_layer import prepare_top_layer
from nixdock.spec.image_spec import ImageSpec, StoreSpec


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty directory for scripts to run in."""
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


@contextmanager
def prepared(script: str = "", *contents: str, root: str = "", mtime: int = 1) -> Iterator[Layer]:
    """The top layer of an image without a base image."""
    spec = ImageSpec(
        version=1,
        name="x",
        contents=list(contents),
        extra_commands=script,
        store=StoreSpec(root=root),
    )
    with ExitStack() as stack:
        yield prepare_top_layer(spec, None, mtime, stack)


# The script.


def test_the_script_runs_in_the_tree_with_the_usual_mask(tree: Path) -> None:
    before = os.umask(0o077)
    try:
        run_script("pwd > here; mkdir d; mkdir -m 1777 tmp", tree)
    finally:
        os.umask(before)
    assert (tree / "here").read_text() == "/build\n"
    modes = {path.name: path.stat().st_mode & 0o7777 for path in tree.iterdir()}
    assert modes == {"here": 0o644, "d": 0o755, "tmp": 0o1777}


@pytest.mark.parametrize(
    "script",
    [
        """echo "a 'b' (c) $((1 + 1)) \\$HOME" '$x' > out""",
        """x="a 'b' (c) 2 "'$HOME $x'\necho "$x" > out\n""",
        "cat > out <<'END'\na 'b' (c) 2 $HOME $x\nEND\n",
    ],
)
def test_quotes_and_parentheses_survive(tree: Path, script: str) -> None:
    run_script(script, tree)
    assert (tree / "out").read_text() == "a 'b' (c) 2 $HOME $x\n"


def test_a_script_that_is_not_ascii(tree: Path) -> None:
    run_script("echo 'größe 大' > größe", tree)
    assert (tree / "größe").read_bytes() == "größe 大\n".encode()


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("false\ntouch on", 1), ("(", 1)])
def test_a_script_that_fails(tree: Path, script: str, status: int) -> None:
    with pytest.raises(NixdockError, match="extra_commands failed with exit status ") as caught:
        run_script(script, tree)
    assert str(caught.value).endswith(f" {status}") or script == "("
    assert list(tree.iterdir()) == []


def test_a_pipe_that_fails_in_the_middle_is_as_in_a_shell(tree: Path) -> None:
    run_script("false | touch on", tree)
    assert (tree / "on").exists()


def test_a_script_that_is_killed(tree: Path) -> None:
    with pytest.raises(NixdockError, match="extra_commands"):
        run_script("kill -KILL $$", tree)


def test_the_script_does_not_write_to_standard_output(
    tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_script("echo said; echo complained >&2; cat", tree)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "said\ncomplained\n"


def test_the_script_may_use_a_builders_setup(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stdenv").mkdir()
    (tmp_path / "stdenv" / "setup").write_text('greet() { echo "$1 $attribute"; }\n')
    (tmp_path / "attrs.sh").write_text("attribute='from attrs'\n")
    monkeypatch.setenv("stdenv", str(tmp_path / "stdenv"))
    monkeypatch.setenv("NIX_ATTRS_SH_FILE", str(tmp_path / "attrs.sh"))
    run_script("greet hello > out", tree, confinement=Confinement.NIX_BUILD)
    assert (tree / "out").read_text() == "hello from attrs\n"


def test_no_shell(tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NixdockError, match="neither bash nor sh is in PATH"):
        run_script("true", tree, confinement=Confinement.NIX_BUILD)


# The layer.


def tar_of(source: Layer) -> bytes:
    out = io.BytesIO()
    source.pack(out.write)
    return out.getvalue()


def members(data: bytes) -> Iterator[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        yield from tar


def test_the_tree_gets_no_bit_of_the_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "group").mkdir()
    (tmp_path / "group").chmod(0o2755)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "group"))
    before = os.umask(0o077)
    try:
        with prepared("mkdir d /tmp/moved; mv /tmp/moved .; stat -c %a . > mode") as top:
            found = {info.name: info.mode for info in members(tar_of(top)) if info.isdir()}
    finally:
        os.umask(before)
    assert found == {"": 0o755, "/d": 0o755, "/moved": 0o755}


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="needs ACLs of Linux")
def test_the_umask_counts_and_not_the_acl_of_the_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "shared"
    directory.mkdir()
    # All may read and write new files: user::rwx, group::rwx, other::rwx (acl(5), in binary form).
    entries = (struct.pack("<HHI", tag, 7, 0xFFFFFFFF) for tag in (1, 4, 0x20))
    try:
        os.setxattr(directory, "system.posix_acl_default", b"\2\0\0\0" + b"".join(entries))
    except OSError:
        pytest.skip("the file system has no ACLs")
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    with prepared("mkdir d; touch d/f /tmp/moved; mv /tmp/moved .") as top:
        found = {info.name: info.mode for info in members(tar_of(top))}
    assert found == {"": 0o755, "/d": 0o755, "/d/f": 0o644, "/moved": 0o644}


def test_the_script_sees_the_joined_tree_and_changes_it(tmp_path: Path) -> None:
    a = f"/nix/store/{'a' * 32}-a"
    (tmp_path / f"root{a}/bin").mkdir(parents=True)
    for name in ("tool", "gone"):
        (tmp_path / f"root{a}/bin" / name).write_text("a")
    script = "rm bin/gone; ln -s tool bin/other; mkdir -p var/empty; echo x > etc"
    with prepared(script, a, root=f"{tmp_path}/root", mtime=99) as source:
        found = list(members(tar_of(source)))
    assert [(m.name, m.mode, m.linkname) for m in found] == [
        ("", 0o755, ""),
        ("/bin", 0o755, ""),
        ("/bin/other", 0o777, "tool"),
        ("/bin/tool", 0o777, f"{a}/bin/tool"),
        ("/etc", 0o644, ""),
        ("/var", 0o755, ""),
        ("/var/empty", 0o755, ""),
    ]
    assert {(m.mtime, m.uid, m.gid) for m in found} == {(99, 0, 0)}


def test_special_modes_survive() -> None:
    script = "mkdir -m 1777 tmp; mkdir -m 2755 mail; echo x > su; chmod 4755 su; chmod 0700 ."
    with prepared(script) as source:
        modes = {member.name: member.mode for member in members(tar_of(source))}
    assert modes == {"": 0o755, "/mail": 0o2755, "/su": 0o4755, "/tmp": 0o1777}


def test_a_tree_lasts_as_long_as_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with prepared("mkdir -p a/b; chmod 0555 a"):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_empty_top_layer_has_only_the_root() -> None:
    with prepared("  \n") as source:
        assert [member.name for member in members(tar_of(source))] == [""]


def test_written_and_read(tmp_path: Path) -> None:
    target = tmp_path / "top"
    with prepared("echo x > f") as source:
        expected = tar_of(source)
        write_top_layer(source, target)
    digest = hashlib.sha256(expected).hexdigest()
    assert (target / "layer.tar").read_bytes() == expected
    assert (target / "checksum").read_text() == f"{digest}\n"
    assert sorted(os.listdir(tmp_path)) == ["top"]
    read = read_top_layer(target)
    assert read.diff_id == f"sha256:{digest}"
    assert tar_of(read) == expected
    with prepared("echo y > f") as source:
        write_top_layer(source, target)
    assert read_top_layer(target).diff_id != read.diff_id, "an earlier one is replaced"


def test_a_directory_that_is_not_a_top_layer(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"is not a top layer with layer\.tar and checksum"):
        read_top_layer(tmp_path)
    (tmp_path / "checksum").write_text("../../etc/passwd\n")
    with pytest.raises(SpecError, match="is not a digest"):
        read_top_layer(tmp_path)
    (tmp_path / "checksum").write_bytes(b"\xff")
    with pytest.raises(SpecError, match="is not a top layer"):
        read_top_layer(tmp_path)


def test_a_top_layer_that_was_changed(tmp_path: Path) -> None:
    with prepared("") as source:
        write_top_layer(source, tmp_path / "top")
    with (tmp_path / "top" / "layer.tar").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(PackError, match=r"layer\.tar has the digest"):
        tar_of(read_top_layer(tmp_path / "top"))
