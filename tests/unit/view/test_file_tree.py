"""Trees of files: directories with the sums of what is in them, whatever it is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import ImageError
from nixdock.view.file_tree import ImpliedDirectories, file_tree
from nixdock.view.model import FileView

NAMES = st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1, max_size=3)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))


@given(st.dictionaries(PATHS, st.integers(0, 1 << 40), max_size=20))
def test_sums(sizes: dict[str, int]) -> None:
    tree = file_tree(
        (FileView(path, "file", size) for path, size in sizes.items()), ImpliedDirectories(1)
    )
    assert tree.size == sum(sizes.values())
    nodes = [*tree.below()]
    assert tree.items == 1 + len(nodes)
    assert len({node.path for node in nodes}) == len(nodes)
    for node in nodes:
        inside = sum(child.size for child in node.children)
        assert node.size == inside + sizes.get(node.path, 0)
        assert node.is_directory is (bool(node.children) or node.path not in sizes)
        assert tree.at(node.path) is node


def test_a_store_path() -> None:
    files = [
        FileView("/s/x", "directory"),
        FileView("/s/x/d/e", "file", 3),
        FileView("/s/x/b", "symbolic link", target="c"),
        FileView("/s/x/empty", "directory"),
        FileView("/s/xy", "file", 100),
    ]
    tree = file_tree(files, ImpliedDirectories(1))
    node = tree.at("/s/x")
    assert node is not None
    assert (node.name, node.size, node.items) == ("x", 3, 5)
    assert [(child.name, child.kind, child.target) for child in node.children] == [
        ("b", "symbolic link", "c"),
        ("d", "directory", None),
        ("empty", "directory", None),
    ]
    assert tree.at("/s/x/nowhere/at/all") is None
    file = tree.at("/s/xy")
    assert file is not None
    assert (file.kind, file.size, file.children) == ("file", 100, [])


def test_what_has_no_size_of_its_own() -> None:
    files = [
        FileView("/a", "file", 7),
        FileView("/b", "hard link", 7, target="/a"),
        FileView("/a", "file", 5),
    ]
    tree = file_tree(files, ImpliedDirectories(1))
    # Of two entries with the same path, a container has the last one.
    assert (tree.size, tree.items) == (5, 3)


def test_depth() -> None:
    """Deeper than Python's stack."""
    tree = file_tree([FileView("/d" * 5000, "file", 1)], ImpliedDirectories(1))
    assert (tree.size, tree.items) == (1, 5001)


def test_directories_without_an_entry_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all trees of a layer count together."""
    monkeypatch.setattr("nixdock.view.file_tree._MOST_DIRECTORIES", 2 * 500 + 4)
    implied = ImpliedDirectories(3)
    own = [FileView("/b", "directory"), FileView("/b/c", "directory"), FileView("/b/c/d", "file")]
    file_tree([*own, FileView("/a/x", "file"), FileView("/a/y", "file")], implied)
    file_tree([FileView("/e/f", "file")], implied)
    with pytest.raises(ImageError, match=r"layer 3: the directories .* more than 1004 bytes"):
        file_tree([FileView("/f/g", "file")], implied)


def test_hostile_names_imply_no_gigabytes() -> None:
    files = (FileView(f"/{i}" + "/a" * 2045, "file") for i in range(1500))
    with pytest.raises(ImageError, match="take more than 536870912 bytes"):
        file_tree(files, ImpliedDirectories(1))
