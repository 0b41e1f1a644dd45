"""Trees of files: directories with the sums of their files."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nixdock.view.file_tree import FileNode, file_tree
from nixdock.view.model import FileView

NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


def leaves(node: FileNode) -> list[FileNode]:
    if node.kind != "directory":
        return [node]
    return [leaf for child in node.children for leaf in leaves(child)]


@given(st.dictionaries(NAMES, st.integers(0, 100)))
def test_sums_and_counts(sizes: dict[str, int]) -> None:
    # A file can't be in another file.
    files = {
        name: size
        for name, size in sizes.items()
        if not any(other.startswith(f"{name}/") for other in sizes)
    }
    tree = file_tree([FileView(f"/{name}", "file", size) for name, size in files.items()])
    assert (tree.size, tree.count) == (sum(files.values()), len(files))
    assert sorted(leaf.size for leaf in leaves(tree)) == sorted(files.values())


def test_a_store_path() -> None:
    files = [
        FileView("/s/x", "directory"),
        FileView("/s/x/b", "symbolic link", target="c"),
        FileView("/s/x/d/e", "file", 3),
        FileView("/s/x/empty", "directory"),
        FileView("/s/xy", "file", 100),
    ]
    tree = file_tree(files, "/s/x")
    assert (tree.name, tree.size, tree.count) == ("x", 3, 2)
    assert [(child.name, child.kind, child.size) for child in tree.children] == [
        ("b", "symbolic link", 0),
        ("d", "directory", 3),
        ("empty", "directory", 0),
    ]
    assert file_tree(files, "/s/xy") == FileNode("xy", "file", 100, 1)
    assert file_tree([], "/s/x").children == ()
