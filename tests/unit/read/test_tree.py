"""The merged tree: the files that a container would have."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from nixdock.errors import ImageError
from nixdock.read import tree as tree_module
from nixdock.read.merging import merged_tree
from nixdock.read.opening import open_image
from nixdock.read.tree import MergedTree
from nixdock.tar.kinds import Kind
from tests.unit.docker_archive import archive, directory, entry, layer, link

# A member, or a name and the text of a file.
File = tuple[str, str] | tarfile.TarInfo


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image.tar"


@contextmanager
def merged(
    path: Path, *layers: bytes, compress: bool = False, verified: bool = True
) -> Iterator[MergedTree]:
    with (
        open_image(archive(path, layers, compress)) as file,
        merged_tree(file.images[0].layers, verified=verified) as tree,
    ):
        yield tree


def names(tree: MergedTree) -> list[str]:
    return [name.decode() for name, _ in tree.walk()]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("verified", [False, True])
def test_upper_layers_win(path: Path, compress: bool, verified: bool) -> None:
    lower = layer(directory("a"), ("a/f", "one"), ("a/g", "kept"))
    upper = layer(directory("a", mode=0o700, uid=5), ("a/f", "second"))
    with merged(path, lower, upper, compress=compress, verified=verified) as tree:
        assert names(tree) == ["a", "a/f", "a/g"]
        found = {n: tree.lookup(n.encode()) for n in names(tree)}
        assert found["a"] and (found["a"].mode, found["a"].uid) == (0o700, 5)
        assert found["a/f"] and tree.open(found["a/f"]).read() == b"second"
        assert found["a/g"] and tree.open(found["a/g"]).read() == b"kept"


def test_whiteouts_act_on_lower_layers_alone(path: Path) -> None:
    lower = layer(("a/gone", ""), ("a/kept", ""), ("b/x", ""), ("b/y/z", ""))
    # An opaque marker may follow files of its directory.
    upper = layer(("a/.wh.gone", ""), ("b/new", ""), ("b/.wh..wh..opq", ""), (".wh.no", ""))
    with merged(path, lower, upper) as tree:
        assert names(tree) == ["a", "a/kept", "b", "b/new"]


def test_whiteout_and_file_of_one_name(path: Path) -> None:
    with merged(path, layer(("d/f", "")), layer(("d", "a file"), (".wh.d", ""))) as tree:
        assert names(tree) == ["d"]
        assert tree.lookup(b"d/f") is None


def test_a_file_takes_the_place_of_a_directory_and_back(path: Path) -> None:
    lowest = layer(("d/f", ""), ("g", ""))
    with merged(path, lowest, layer(("d", "")), layer(directory("d"), ("d/h", ""))) as tree:
        assert names(tree) == ["d", "d/h", "g"]


def test_links_lead_where_they_would_in_a_container(path: Path) -> None:
    links = [link("bin", "usr/bin"), link("out", "../../../usr"), link("abs", "/bin")]
    files = [("bin/sh", "#!"), ("out/x", ""), ("abs/y", "")]
    with merged(path, layer(directory("usr/bin"), *links, *files)) as tree:
        assert names(tree) == ["abs", "bin", "out", "usr", "usr/bin", "usr/bin/sh", "usr/bin/y",
                               "usr/x"]  # fmt: skip
        assert tree.resolve(b"abs/sh") == b"usr/bin/sh"
        assert tree.resolve(b"abs") == b"abs"
        assert tree.resolve(b"abs", follow=True) == b"usr/bin"
        assert tree.resolve(b"nowhere/x") is None
        assert tree.resolve(b"../../bin/../x") == b"usr/x"


@pytest.mark.parametrize("files", [[directory("bin")], [("bin/sh", "#!")], [("bin/.wh.ls", "")]])
def test_a_directory_takes_the_place_of_a_link(path: Path, files: Sequence[File]) -> None:
    """Also one that the layer does not list: only links of the same layer are followed."""
    lower = layer(directory("usr/bin"), ("usr/bin/ls", ""), link("bin", "usr/bin"))
    with merged(path, lower, layer(*files)) as tree:
        node = tree.lookup(b"bin")
        assert node is not None and node.is_directory
        assert tree.lookup(b"usr/bin/ls") is not None
        assert tree.lookup(b"usr/bin/sh") is None


def test_a_directory_that_its_layer_deletes_keeps_what_lower_layers_have(path: Path) -> None:
    """An overlay file system has no place to note that, unless the directory is opaque."""
    lower = layer(("a/x", ""), ("b", ""), ("c/x", ""), link("d", "c"))
    deleted = [(".wh.a", ""), (".wh.b", ""), (".wh.c", ""), (".wh.d", "")]
    upper = layer(*deleted, *map(directory, "abcd"), ("a/y", ""), ("c/.wh..wh..opq", ""))
    with merged(path, lower, upper) as tree:
        assert names(tree) == ["a", "a/x", "a/y", "b", "c", "d"]


def test_what_is_in_directories_of_aufs_is_there(path: Path) -> None:
    """Containers have it, so nothing may hide there."""
    own: list[File] = [
        directory(".wh..wh.orph"),
        (".wh..wh.orph/x", ""),
        (".wh..wh.aufs", ""),
        link(".wh..wh.plnk/5", "a"),
    ]
    with merged(path, layer(("a", "")), layer(*own)) as tree:
        assert names(tree) == [
            *(".wh..wh.orph", ".wh..wh.orph/x", ".wh..wh.plnk", ".wh..wh.plnk/5", "a"),
        ]


def test_only_symbolic_links_have_targets(path: Path) -> None:
    with merged(path, layer(entry("a", linkname="b"), directory("d", linkname="b"))) as tree:
        assert [node.target for _, node in tree.walk()] == [b"", b""]


def test_the_root_is_never_opaque(path: Path) -> None:
    with merged(path, layer(("a", "")), layer((".wh..wh..opq", ""), ("b", ""))) as tree:
        assert names(tree) == ["a", "b"]


def test_directories_of_whiteouts_are_made(path: Path) -> None:
    with merged(path, layer(("a", "")), layer(("b/.wh.x", ""), ("c/d/.wh..wh..opq", ""))) as tree:
        assert names(tree) == ["a", "b", "c", "c/d"]


def test_hard_links_are_one_node(path: Path) -> None:
    linked = entry("b", tarfile.LNKTYPE, linkname="a")
    with merged(path, layer(("a", "text"), linked)) as tree:
        assert tree.lookup(b"a") is tree.lookup(b"b")


def test_circular_links_lead_nowhere(path: Path) -> None:
    with merged(path, layer(link("a", "b"), link("b", "a"))) as tree:
        assert tree.resolve(b"a/x") is None


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([layer(("../x", ""))], r"contains '\.\.'"),
        ([layer(("a", ""), ("./a", ""))], "appears twice"),
        ([layer(("f", "")), layer(("f/x", ""))], "has files below 'f', which is a file"),
        (
            [layer(link("a", "a")), layer(("a/x", ""))],
            "below 'a', which does not lead to a directory",
        ),
        ([layer(link("a", "nowhere")), layer(("a/x", ""))], "does not lead to a directory"),
        ([layer(entry("b", tarfile.LNKTYPE, linkname="a"))], "is not an earlier file"),
        ([layer(entry("d", tarfile.CHRTYPE))], "device 0:0"),
        ([layer(("a/.wh.", ""))], "whiteout of nothing"),
        ([layer(("f", "x"))[:512]], "end"),
    ],
)
def test_refuses(path: Path, layers: list[bytes], message: str) -> None:
    with pytest.raises(ImageError, match=message), merged(path, *layers):
        pass


def test_a_damaged_layer_is_refused_before_a_byte_is_used(path: Path) -> None:
    archive(path, [layer(("a", "right"))])
    data = path.read_bytes()
    path.write_bytes(data.replace(b"right", b"wrong"))
    with (
        open_image(path) as file,
        pytest.raises(ImageError, match="damaged"),
        merged_tree(file.images[0].layers),
    ):
        pass


def test_devices_are_nodes(path: Path) -> None:
    with merged(path, layer(entry("null", tarfile.CHRTYPE, devmajor=1, devminor=3))) as tree:
        node = tree.lookup(b"null")
        assert node is not None
        assert (node.kind, node.device) == (Kind.CHARACTER_DEVICE, (1, 3))


def test_no_layers_are_an_empty_root() -> None:
    with merged_tree(()) as tree:
        assert names(tree) == []
        assert tree.root.is_directory


def test_files_go_where_their_directory_is_by_then(path: Path) -> None:
    """A link to a directory, below which a layer has files, is listed later as a directory."""
    lower = layer(("a/b/old", ""), ("m/old", ""), link("l", "a"))
    upper = layer(("l/b/x", ""), ("m/x", ""), directory("l"), ("l/b/y", ""), ("l/z", ""))
    with merged(path, lower, upper) as tree:
        assert names(tree) == [
            *("a", "a/b", "a/b/old"),
            *("l", "l/b", "l/b/x", "l/b/y", "l/z", "m", "m/old", "m/x"),
        ]


def test_a_directory_that_was_deleted_is_made_again(path: Path) -> None:
    layers = layer(("a/b/x", "")), layer((".wh.a", "")), layer(("a/b/y", ""))
    with merged(path, *layers) as tree:
        assert names(tree) == ["a", "a/b", "a/b/y"]


@pytest.mark.parametrize("hidden", [".wh..wh..opq", ".wh.keep"])
@pytest.mark.parametrize("first", [False, True])
def test_a_directory_in_the_place_of_a_link_hides_nothing_where_that_leads(
    path: Path, hidden: str, first: bool
) -> None:
    lower = layer(("run/keep", ""), directory("var"), link("var/run", "/run"))
    new: list[File] = [directory("var/run"), (f"var/run/{hidden}", ""), ("var/run/new", "")]
    with merged(path, lower, layer(*(new[1:] + new[:1] if first else new))) as tree:
        assert tree.lookup(b"run/keep") is not None
        assert tree.lookup(b"var/run") is not None


def test_whiteouts_below_a_directory_in_the_place_of_a_link(path: Path) -> None:
    lower = layer(("run/lock/keep", ""), directory("var"), link("var/run", "/run"))
    upper = layer(directory("var/run"), directory("var/run/lock"), ("var/run/lock/.wh.keep", ""))
    with merged(path, lower, upper) as tree:
        assert names(tree) == ["run", "run/lock", "run/lock/keep", "var", "var/run", "var/run/lock"]


def test_whiteouts_of_a_link_and_behind_it(path: Path) -> None:
    lower = layer(("run/keep", ""), ("run/gone", ""), link("a", "run"), link("b", "run"))
    for upper in ([(".wh.a", ""), ("a/.wh.keep", "")], [("a/.wh.keep", ""), (".wh.a", "")]):
        with merged(path, lower, layer(*upper, ("b/.wh.gone", ""))) as tree:
            assert names(tree) == ["a", "b", "run", "run/gone", "run/keep"]
            assert tree.resolve(b"b", follow=True) == b"b"


def chain(*more: tuple[str, str]) -> bytes:
    """A layer in which the link l0 leads to the directory a by 80,000 components."""
    links = [link(f"l{i}", "a/../" * 816 + f"l{i + 1}") for i in range(38)]
    return layer(directory("a"), *links, link("l38", "a"), *more)


def test_whiteouts_behind_links_are_looked_up_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module, "_MOST_FOLLOWED", 100_000)
    lower = chain(*((f"a/{i}", "") for i in range(100)))
    with merged(path, lower, layer(*((f"l0/.wh.{i}", "") for i in range(99)))) as tree:
        assert names(tree)[:2] == ["a", "a/0"]
        assert tree.resolve(b"l0", follow=True) == b"l0"


@pytest.mark.parametrize("kind", ["whiteouts", "files", "hard links"])
def test_links_that_take_long_to_follow(
    path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(tree_module, "_MOST_FOLLOWED", 1_000_000)
    links = [link(f"s{i}", "l0") for i in range(20)]
    upper: dict[str, list[File]] = {
        # Those of a lower layer are not followed.
        "whiteouts": [*links, *((f"s{i}/.wh.x", "") for i in range(20))],
        "files": [(f"s{i}/{i}", "") for i in range(20)],
        "hard links": [entry(f"h{i}", tarfile.LNKTYPE, linkname="l0/f") for i in range(20)],
    }
    layers = chain(("a/f", "")), layer(*links), layer(*upper[kind])
    with pytest.raises(ImageError, match="more than 1000000 components"), merged(path, *layers):
        pass
