"""Outputs appear whole or not at all."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from nixdock.errors import OutputError
from nixdock.system.atomic import whole_directory, whole_file
from nixdock.system.directory_form import DirectoryForm
from nixdock.system.scratch import temporary_directory

FORM = DirectoryForm("marker", re.compile("first|below(/x)?"))


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_a_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with whole_file(target) as writer:
        writer.write(b"one")
        writer.write(memoryview(b"two"))
        assert not target.exists()
    assert target.read_bytes() == b"onetwo"
    assert names(tmp_path) == ["out"]


def test_a_file_has_the_usual_mode(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "out"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640


def test_a_private_file_replaces_a_public_one(tmp_path: Path) -> None:
    (tmp_path / "out").touch(0o644)
    with whole_file(tmp_path / "out", 0o600) as writer:
        writer.write(b"secret")
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old and longer")
    reader = target.open("rb")
    with whole_file(target) as writer:
        writer.write(b"new")
        assert target.read_bytes() == b"old and longer"
    assert target.read_bytes() == b"new"
    with reader:
        assert reader.read() == b"old and longer", "readers of the old file keep it"


def test_a_symlink_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp_path / "out").symlink_to("kept")
    with whole_file(tmp_path / "out") as writer:
        writer.write(b"new")
    assert not (tmp_path / "out").is_symlink()
    assert (tmp_path / "kept").read_bytes() == b"kept"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_no_file_after_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(error), whole_file(tmp_path / "out") as writer:
        writer.write(b"half")
        raise error
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"old"


def test_a_file_in_the_place_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "out" / "inner").mkdir(parents=True)
    with (
        pytest.raises(OutputError, match=f"{tmp_path}/out is a directory; name a file"),
        whole_file(tmp_path / "out"),
    ):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["out"]


def test_a_file_in_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=f"can't write to {tmp_path}/missing: No such file"),
        whole_file(tmp_path / "missing" / "out"),
    ):
        pytest.fail("the block must not run")


# Directories.


def test_a_directory_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with whole_directory(target, FORM) as directory:
        (directory / "marker").write_text("")
        assert not target.exists()
        assert directory.parent.parent == tmp_path, "on the same file system"
    assert names(target) == ["marker"]
    assert names(tmp_path) == ["out"]


def test_an_empty_directory_and_an_earlier_output_are_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with whole_directory(target, FORM) as directory:
        (directory / "marker").write_text("first")
        (directory / "first").write_text("")
    with whole_directory(target, FORM) as directory:
        (directory / "marker").write_text("second")
        assert names(target) == ["first", "marker"]
    assert names(target) == ["marker"]
    assert (target / "marker").read_text() == "second"
    assert names(tmp_path) == ["out"]


def test_a_foreign_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis").write_text("")
    message = r"out exists and is not an earlier output .*no marker"
    with (
        pytest.raises(OutputError, match=message) as caught,
        whole_directory(tmp_path / "out", FORM),
    ):
        pytest.fail("the block must not run")
    assert caught.value.path == str(tmp_path / "out")
    assert names(tmp_path / "out") == ["thesis"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["thesis", "below/thesis", "other/x", "link"])
def test_what_is_not_of_an_earlier_output_is_not_removed(tmp_path: Path, name: str) -> None:
    target = tmp_path / "out"
    (target / "below").mkdir(parents=True)
    for own in ("marker", "first", "below/x"):
        (target / own).touch()
    with whole_directory(target, FORM) as directory:
        (directory / "marker").touch()
    file = target / name
    file.parent.mkdir(exist_ok=True)
    if name == "link":
        file.symlink_to(tmp_path)
    else:
        file.touch()
    foreign = name.removesuffix("/x")
    message = f"out has {foreign}, which is not part of an earlier output and would be lost; move"
    with pytest.raises(OutputError, match=message), whole_directory(target, FORM):
        pytest.fail("the block must not run")
    assert os.path.lexists(file)


def test_what_comes_while_an_output_is_written_is_not_removed(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    message = "out has thesis, which is not part of an earlier output"
    with (
        pytest.raises(OutputError, match=message),
        whole_directory(target, FORM) as directory,
    ):
        (directory / "marker").touch()
        (target / "marker").touch()
        (target / "thesis").touch()
    assert names(target) == ["marker", "thesis"]
    assert names(tmp_path) == ["out"]


def test_a_symlink_to_a_directory_is_followed(tmp_path: Path) -> None:
    (tmp_path / "far" / "real").mkdir(parents=True)
    target = tmp_path / "out"
    target.symlink_to("far/real")
    for text in ("first", "second"):
        with whole_directory(target, FORM) as directory:
            (directory / "marker").write_text(text)
        assert target.is_symlink()
        assert (tmp_path / "far/real/marker").read_text() == text
    assert (names(tmp_path), names(tmp_path / "far")) == (["far", "out"], ["real"])


def test_a_symlink_to_a_store_path_is_refused(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "marker").touch()
    real.chmod(0o555)
    (tmp_path / "result").symlink_to("real")
    message = f"result leads to {real}, which is read-only; remove the link or name another"
    with (
        pytest.raises(OutputError, match=message),
        whole_directory(tmp_path / "result", FORM),
    ):
        pytest.fail("the block must not run")
    assert names(real) == ["marker"]


@pytest.mark.parametrize("kind", ["file", "dangling"])
def test_a_file_or_a_dangling_symlink_is_not_replaced_by_a_directory(
    tmp_path: Path, kind: str
) -> None:
    target = tmp_path / "out"
    (tmp_path / "d").mkdir()
    if kind == "file":
        target.write_text("")
    else:
        target.symlink_to("nowhere")
    with (
        pytest.raises(OutputError, match="out exists and is not a directory"),
        whole_directory(target, FORM),
    ):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["d", "out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_no_directory_after_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "marker").write_text("old")
    with pytest.raises(error), whole_directory(target, FORM) as directory:
        (directory / "half").write_text("")
        raise error
    assert names(tmp_path) == ["out"]
    assert (target / "marker").read_text() == "old"


@pytest.mark.parametrize(("name", "at"), [(".", "here"), ("..", "here/below")])
def test_an_output_without_a_name_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at: str
) -> None:
    (tmp_path / at).mkdir(parents=True)
    (tmp_path / "here" / "marker").write_text("")
    monkeypatch.chdir(tmp_path / at)
    with whole_directory(Path(name), FORM) as directory:
        (directory / "marker").write_text("")
    assert names(tmp_path) == ["here"]
    assert names(tmp_path / "here") == ["marker"]


def test_a_temporary_directory_is_gone_afterwards(tmp_path: Path) -> None:
    with temporary_directory(tmp_path / "out") as directory:
        assert directory.parent == tmp_path
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "file").write_text("")
    assert names(tmp_path) == []


def test_a_target_that_becomes_a_directory_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "out"
    message = f"can't put {target} in place: Is a directory"
    with pytest.raises(OutputError, match=message), whole_file(target) as writer:
        writer.write(b"x")
        target.mkdir()
    assert names(tmp_path) == ["out"]


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    for target in (Path("/dev/null"), link):
        with whole_file(target) as writer:
            writer.write(b"x")
        assert target.is_char_device()
    assert link.is_symlink()
