from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from nixdock.errors import PackError
from nixdock.layers.pack import pack
from nixdock.layers.store import StoreLayer
from nixdock.nix import case_hack
from nixdock.nix.store_path import StorePath
from nixdock.stores.local import LocalStore
from nixdock.tar.kinds import Kind

PATH = StorePath.parse(f"/nix/store/{'a' * 32}-app")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    tree = Path(f"{tmp_path}{PATH}")
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/app").write_bytes(b"program")
    (tree / "sbin").symlink_to("bin")
    return LocalStore(str(tmp_path))


def test_entries_have_the_names_of_the_store_and_the_files_below_the_root(
    store: LocalStore,
) -> None:
    entries = list(store.entries(PATH))
    name = PATH.encode()
    assert [(e.name, e.kind) for e in entries] == [
        (name + b"/", Kind.DIRECTORY),
        (name + b"/bin/", Kind.DIRECTORY),
        (name + b"/bin/app", Kind.FILE),
        (name + b"/sbin", Kind.SYMLINK),
    ]
    assert Path(entries[2].source.decode()).read_bytes() == b"program"
    assert list(store.listing(PATH)) == entries


def test_names_that_nix_changes_on_macos_because_of_their_case(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(f"{store.root}{PATH}/bin/App~nix~case~hack~1")
    file.write_bytes(b"another program")
    name = PATH.encode() + b"/bin/App"
    layer = StoreLayer((PATH,), store=store)
    assert name not in [entry.name for entry in store.entries(PATH)], "Linux has names with that"
    monkeypatch.setattr(case_hack, "_is_used", True)
    (entry,) = (entry for entry in store.entries(PATH) if entry.name == name)
    assert entry.source == os.fsencode(file)
    changed = pack(layer).digest
    monkeypatch.setattr(case_hack, "_is_used", False)
    file.rename(file.with_name("App"))
    assert pack(layer).digest == changed


def test_a_path_that_does_not_exist_is_an_error_that_says_what_to_do(store: LocalStore) -> None:
    missing = StorePath.parse(f"/nix/store/{'b' * 32}-app")
    with pytest.raises(PackError) as caught:
        store.entries(missing)
    file = f"{store.root}{missing}"
    assert str(caught.value) == (f"{file} does not exist; build or copy it into this store first")
    assert caught.value.path == file


def test_a_path_that_can_not_be_looked_at_is_not_said_not_to_exist(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "lstat", fail)
    with pytest.raises(PackError, match=f"^can't read {store.root}{PATH}: Permission denied$"):
        store.entries(PATH)


@pytest.mark.parametrize(
    ("name", "itself", "perhaps"),
    [
        ("", True, True),
        ("/", True, True),
        ("/bin", True, True),
        ("/bin/app", True, True),
        ("/sbin", True, True),
        ("/sbin/app", False, True),
        ("/bin/../bin/app", False, True),
        ("/bin/none", False, False),
        ("/none/app", False, False),
    ],
)
def test_files_are_found_themselves_or_behind_symlinks(
    store: LocalStore, name: str, itself: bool, perhaps: bool
) -> None:
    assert store.has_file(PATH, f"{PATH}{name}") == itself
    assert store.may_have_file(PATH, f"{PATH}{name}") == perhaps
