"""Files and directories are opened without following a symlink."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from nixdock.system.opening import _DIRECTORY, _FILE, _opener, open_directory, open_file


def error_of(opening: object, path: Path) -> int | None:
    assert callable(opening)
    try:
        os.close(opening(os.fsencode(path)))
    except OSError as error:
        assert error.filename == os.fsencode(path)
        return error.errno
    return None


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "d/inner").mkdir(parents=True)
    (tmp_path / "d/inner/file").write_bytes(b"data")
    (tmp_path / "link").symlink_to("d")
    (tmp_path / "d/link").symlink_to("inner/file")
    return tmp_path


def test_a_link_is_refused_wherever_it_is(tree: Path) -> None:
    assert error_of(open_file, tree / "d/inner/file") is None
    assert error_of(open_file, tree / "d/link") == errno.ELOOP
    assert error_of(open_directory, tree / "d/inner") is None
    assert error_of(open_file, tree / "missing") == errno.ENOENT
    assert error_of(open_directory, tree / "link") in {errno.ELOOP, errno.ENOTDIR}
    if _opener(_FILE).__name__ == "checked":
        assert error_of(open_file, tree / "link/inner/file") == errno.ELOOP
        assert error_of(open_directory, tree / "link/inner") == errno.ELOOP


def test_descriptors_are_not_inherited(tree: Path) -> None:
    descriptor = open_file(os.fsencode(tree / "d/inner/file"))
    assert not os.get_inheritable(descriptor)
    assert os.read(descriptor, 10) == b"data"
    os.close(descriptor)


@pytest.mark.parametrize("flags", [_FILE, _DIRECTORY])
def test_without_openat2_the_last_component_is_checked(
    tree: Path, monkeypatch: pytest.MonkeyPatch, flags: int
) -> None:
    monkeypatch.setattr(sys, "platform", "other")
    plain = _opener(flags)
    path = tree / "link/inner" if flags == _DIRECTORY else tree / "link/inner/file"
    assert error_of(plain, path) is None
    refused = tree / "link" if flags == _DIRECTORY else tree / "d/link"
    assert error_of(plain, refused) in {errno.ELOOP, errno.ENOTDIR}
