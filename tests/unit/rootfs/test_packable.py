"""What a script leaves is packed alike for every user, also what only root could read."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from nixdock.errors import PackError
from nixdock.layers.layer import Packing
from nixdock.layers.tree import TreeLayer
from nixdock.rootfs.packable import as_fakes, make_packable, modes_by_name
from nixdock.rootfs.rootless.fakeroot import FakeFile, Inode
from nixdock.rootfs.top_layer import prepare_top_layer
from nixdock.spec.image_spec import ImageSpec

MODES = {
    "/shut": 0,
    "/shut/file": 0o200,
    "/shut/dir": 0o2555,
    "/shut/dir/x": 0o644,
    "/blind": 0o111,
}
LEAVE = """
mkdir -p shut/dir blind; touch shut/file shut/dir/x
chmod 200 shut/file; chmod 2555 shut/dir; chmod 0 shut; chmod 111 blind
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree as a script leaves it."""
    tree = tmp_path / "tree"
    for name in MODES:
        path = tree / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if name.endswith(("file", "x")) else path.mkdir(exist_ok=True)
    for name, mode in reversed(MODES.items()):
        (tree / name[1:]).chmod(mode)
    return tree


def permissions(tree: Path) -> dict[str, int]:
    return {name: stat.S_IMODE((tree / name[1:]).stat().st_mode) for name in MODES}


def test_all_is_made_readable_and_the_modes_are_known(tree: Path) -> None:
    shut = tree / "shut"
    info = shut.stat()
    modes = make_packable(tree)
    assert permissions(tree) == {
        "/shut": 0o700,
        "/shut/file": 0o600,
        "/shut/dir": 0o755,
        "/shut/dir/x": 0o644,
        "/blind": 0o711,
    }
    (shut / "dir").rename(tree / "moved")
    assert modes_by_name(modes, tree) == {
        b"shut": 0,
        b"shut/file": 0o200,
        b"moved": 0o2555,
        b"blind": 0o111,
    }
    assert as_fakes(modes)[Inode(info.st_dev, info.st_ino)] == FakeFile(stat.S_IFDIR)
    assert make_packable(tree) == {}


def test_the_mode_of_the_tree_itself_is_not_that_of_a_member(tree: Path) -> None:
    tree.chmod(0)
    modes = make_packable(tree)
    assert stat.S_IMODE(tree.stat().st_mode) == 0o700
    assert b"" not in modes_by_name(modes, tree)


def test_sockets_are_left_out(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    socket = tree / "shut/dir/socket"
    (tree / "shut/dir").chmod(0o755)
    os.mknod(socket, 0o644 | stat.S_IFSOCK)
    (tree / "shut/dir").chmod(0o555)
    modes = make_packable(tree)
    assert not os.path.lexists(socket)
    assert modes_by_name(modes, tree)[b"shut/dir"] == 0o555
    (message,) = caplog.messages
    assert message == "/shut/dir/socket is left out: it is a socket, which a layer can't hold"


def test_a_path_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    monkeypatch.chdir(tree)
    for _ in range(20):
        Path("d" * 250).mkdir()
        os.chdir("d" * 250)
    with pytest.raises(PackError, match=r"^can't read /dddd.*, which the scripts made: File name"):
        make_packable(tree)


def test_a_layer_has_the_modes_that_a_script_set() -> None:
    spec = ImageSpec(version=1, name="x", extra_commands=LEAVE)
    with ExitStack() as stack:
        layer = prepare_top_layer(spec, None, 1, stack)
        assert isinstance(layer, TreeLayer)
        # Whoever owns them can read the files.
        assert permissions(layer.directory)["/shut/file"] == 0o600
        out = io.BytesIO()
        layer.pack(out.write, Packing())
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        assert {each.name: each.mode for each in tar if each.name} == MODES


@pytest.mark.runtime
def test_scripts_that_follow_find_the_modes() -> None:
    check = '[ "$(stat -c %a shut)" = 0 ]; cat shut/file; chmod 100 blind'
    spec = ImageSpec(version=1, name="x", extra_commands=LEAVE, fake_root_commands=check)
    with ExitStack() as stack:
        layer = prepare_top_layer(spec, None, 1, stack)
        out = io.BytesIO()
        layer.pack(out.write, Packing())
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        found = {each.name: each.mode for each in tar if each.name}
    assert found == {**MODES, "/blind": 0o100}
