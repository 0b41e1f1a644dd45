"""What is put in place is on disk first, and the earlier directory is never lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nixdock.errors import OutputError
from nixdock.system import renaming
from nixdock.system.atomic import whole_directory, whole_file
from nixdock.system.directory_form import DirectoryForm

FORM = DirectoryForm("marker")
# Replaces the directory in argv where two can't be exchanged, and is killed between two renames.
KILLED = """
import os, sys
from pathlib import Path
from nixdock.system import renaming
from nixdock.system.atomic import whole_directory
from nixdock.system.directory_form import DirectoryForm
renaming._exchange = lambda *_: False
rename = Path.rename
def rename_once(self, target):
    if (self / "new").exists():
        os._exit(9)
    return rename(self, target)
Path.rename = rename_once
with whole_directory(Path(sys.argv[1]), DirectoryForm("marker")) as directory:
    (directory / "new").touch()
"""


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """An earlier output."""
    target = tmp_path / "out"
    with whole_directory(target, FORM) as directory:
        (directory / "marker").write_text("old")
    return target


def replace(target: Path) -> None:
    with whole_directory(target, FORM) as directory:
        (directory / "marker").write_text("new")


def test_directories_are_exchanged_in_one_step(
    earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise AssertionError("the earlier directory must not be renamed away")

    monkeypatch.setattr(Path, "rename", refuse)
    replace(earlier)
    assert (earlier / "marker").read_text() == "new"
    assert os.listdir(earlier.parent) == ["out"]


@pytest.mark.parametrize("exchange", [True, False])
def test_an_error_of_renaming_keeps_the_earlier_directory(
    earlier: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    rename = Path.rename

    def no_exchange(path: Path, other: Path) -> bool:
        if exchange:
            raise OSError(122, "Disk quota exceeded")
        return False

    def fail(self: Path, target: Path) -> Path:
        if (self / "marker").read_text() == "new":
            raise OSError(122, "Disk quota exceeded")
        return rename(self, target)

    monkeypatch.setattr(renaming, "_exchange", no_exchange)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match=f"can't put {earlier} in place: Disk quota exceeded"):
        replace(earlier)
    assert (earlier / "marker").read_text() == "old"
    assert os.listdir(earlier.parent) == ["out"]


def test_the_next_run_restores_what_a_killed_one_moved_away(earlier: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, earlier], check=False)
    assert done.returncode == 9
    assert not earlier.exists()
    with pytest.raises(KeyError), whole_directory(earlier, FORM):
        assert (earlier / "marker").read_text() == "old"
        raise KeyError
    assert os.listdir(earlier.parent) == ["out"]
    assert (earlier / "marker").read_text() == "old"


def test_an_earlier_directory_that_can_not_be_put_back_is_kept(
    earlier: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if target == earlier:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(renaming, "_exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError):
        replace(earlier)
    (kept,) = earlier.parent.iterdir()
    assert (kept / "replaced/out/marker").read_text() == "old"
    assert f"{earlier} is missing; the earlier one is below {kept}" in caplog.text


def test_files_are_on_disk_before_they_have_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    target = tmp_path / "out"

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        events.append(f"{path.name} {'after' if target.exists() else 'before'}")

    monkeypatch.setattr(os, "fsync", fsync)
    with whole_file(target) as file:
        file.write(b"x")
    assert events == ["out before", f"{tmp_path.name} after"]
    target.unlink()
    events.clear()
    with whole_directory(target, FORM) as directory:
        (directory / "blobs").mkdir()
        (directory / "blobs/blob").touch()
        (directory / "marker").touch()
    assert events == [
        "blob before",
        "blobs before",
        "marker before",
        "out before",
        f"{tmp_path.name} after",
    ]


def test_a_disk_that_fails_to_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    message = f"can't put {tmp_path}/out in place: Input/output error"
    with pytest.raises(OutputError, match=message), whole_file(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_file_system_that_does_not_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    with whole_file(tmp_path / "out") as file:
        file.write(b"x")
    assert (tmp_path / "out").read_bytes() == b"x"
