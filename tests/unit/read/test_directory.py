"""An image's files in a directory in which others write, or which may not be read."""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nixdock.errors import InputError
from nixdock.read.directory import Directory
from nixdock.read.opening import open_image


def test_a_file_that_vanishes_is_not_there(tmp_path: Path) -> None:
    """As temporary files do while something is added to a layout."""
    done = threading.Event()

    def write() -> None:
        files = [tmp_path / str(number) for number in range(20)]
        while not done.is_set():
            for file in files:
                file.touch()
            for file in files:
                file.unlink()

    (tmp_path / "kept").write_bytes(b"data")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(500):
            assert Directory(tmp_path).size("kept") == 4
    finally:
        done.set()
        writer.join()
        sys.setswitchinterval(before)


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Give a function that forbids to list a directory; the super-user may read every other."""
    forbidden: list[Path] = []
    scandir = os.scandir

    def scan(path: str | Path | int) -> object:
        if not isinstance(path, int) and Path(path) in forbidden:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    yield forbidden.append
    monkeypatch.undo()


def test_an_unreadable_directory_is_not_said_to_be_no_image(
    tmp_path: Path, forbid: Callable[[Path], None]
) -> None:
    forbid(tmp_path)
    with (
        pytest.raises(InputError, match=rf"^can't read {tmp_path}: Permission denied$"),
        open_image(tmp_path),
    ):
        pass


def test_no_file_is_looked_at_where_there_is_no_image(
    tmp_path: Path, forbid: Callable[[Path], None]
) -> None:
    """As in a home directory, with very many files."""
    (tmp_path / "large").mkdir()
    forbid(tmp_path / "large")
    with (
        pytest.raises(InputError, match=r"neither index\.json nor manifest\.json at its top$"),
        open_image(tmp_path),
    ):
        pass


def test_blobs_that_can_not_be_read_are_not_said_to_be_missing(
    sample_image: Callable[..., Path], tmp_path: Path, forbid: Callable[[Path], None]
) -> None:
    layout = sample_image(tmp_path / "image", form="oci-layout")
    forbid(layout / "blobs" / "sha256")
    with (
        pytest.raises(InputError, match=rf"can't read {layout}/blobs/sha256: Permission denied"),
        open_image(layout, lambda _: None),
    ):
        pass


def test_an_unreadable_directory_that_the_image_does_not_need(
    sample_image: Callable[..., Path], tmp_path: Path, forbid: Callable[[Path], None]
) -> None:
    """As `lost+found`, where a file system is mounted."""
    layout = sample_image(tmp_path / "image", form="oci-layout")
    (layout / "lost+found").mkdir()
    forbid(layout / "lost+found")
    with open_image(layout) as file:
        assert len(file.images) == 1


def test_a_directory_that_may_be_listed_but_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "file").touch()
    (tmp_path / "gone").symlink_to("nowhere")
    stat = Path.stat

    def fail(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.parent == tmp_path / "blobs":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", fail)
    monkeypatch.setattr(Path, "lstat", lambda path: fail(path, follow_symlinks=False))
    directory = Directory(tmp_path)
    assert "gone" not in directory
    with pytest.raises(InputError, match=f"^can't read {tmp_path}/blobs: Permission denied$"):
        directory.size("blobs/file")
