"""Joining trees at `/`: directories, symlinks to files, copies, and base images below them."""

from __future__ import annotations

import errno
import logging
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from nixdock.errors import PackError, SpecError
from nixdock.read.merging import merged_tree
from nixdock.read.opening import open_image
from nixdock.rootfs.copied_contents import copy_contents
from nixdock.rootfs.linked_contents import JoinedTree, link_contents
from nixdock.rootfs.underlay import Underlay
from nixdock.tar.header import Attributes
from tests.unit.docker_archive import archive, directory, layer, link

# The contents of a store path: the text of a file, None for a directory, or a symlink's target.
Files = Mapping[str, "str | Link | None"]


class Link(str):
    """The target of a symlink."""

    __slots__ = ()


class Store:
    """A store below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)

    def add(self, letter: str, files: Files) -> str:
        """Make a store path with these files and return it."""
        path = f"/nix/store/{letter * 32}-{letter}"
        for name, content in files.items():
            file = Path(f"{self.root}{path}/{name}")
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Link):
                file.symlink_to(content)
            elif content is None:
                file.mkdir(exist_ok=True)
            else:
                file.write_text(content)
        return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "root")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The empty directory into which trees are joined."""
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def shown(tree: Path) -> dict[str, str]:
    """Each path below `tree` with the target of a symlink, or a slash for anything else."""
    return {
        str(path.relative_to(tree)): os.readlink(path) if path.is_symlink() else "/"
        for path in sorted(tree.rglob("*"))
    }


def test_directories_are_real_and_leaves_are_links(store: Store, tree: Path) -> None:
    a = store.add("a", {"bin/tool": "a", "share/doc/readme": "a", "empty": None})
    b = store.add("b", {"bin/other": "b", "share/man": "b"})
    link_contents([a, b], tree, store.root)
    assert shown(tree) == {
        "bin": "/",
        "bin/other": f"{b}/bin/other",
        "bin/tool": f"{a}/bin/tool",
        "empty": "/",
        "share": "/",
        "share/doc": "/",
        "share/doc/readme": f"{a}/share/doc/readme",
        "share/man": f"{b}/share/man",
    }


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_modes_do_not_depend_on_the_mask(store: Store, tree: Path, mask: int) -> None:
    a = store.add("a", {"d/e/f": "x"})
    Path(f"{store.root}{a}/d").chmod(0o555)
    before = os.umask(mask)
    try:
        link_contents([a], tree, store.root)
    finally:
        os.umask(before)
    assert [p.stat().st_mode & 0o7777 for p in (tree, tree / "d", tree / "d/e")] == [0o755] * 3


@contextmanager
def unusual_modes(tree: Path) -> Iterator[None]:
    """Use a mask that leaves little, in a tree whose new directories get its group and bit."""
    tree.chmod(0o2755)
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def modes(tree: Path) -> dict[str, int]:
    return {
        str(path.relative_to(tree)): path.stat().st_mode & 0o7777
        for path in tree.rglob("*")
        if path.is_dir() and not path.is_symlink()
    }


def test_directories_to_which_links_of_the_base_lead_have_the_usual_mode(
    tree: Path, tmp_path: Path
) -> None:
    with below(tmp_path, directory("usr/bin"), link("bin", "usr/bin")) as underlay:
        with unusual_modes(tree):
            underlay.add_directory_links(tree)
        assert modes(tree) == {"usr": 0o755, "usr/bin": 0o755}


def test_directories_to_which_files_are_moved_have_the_usual_mode(
    tree: Path, tmp_path: Path
) -> None:
    (tree / "bin").mkdir()
    (tree / "bin/sh").touch()
    with below(tmp_path, directory("usr/bin"), link("bin", "usr/bin")) as underlay:
        with unusual_modes(tree):
            underlay.remove_directory_links(tree, {})
        assert modes(tree) == {"usr": 0o755, "usr/bin": 0o755}


def test_directories_to_which_kept_links_lead_have_the_usual_mode(store: Store, tree: Path) -> None:
    contents = [store.add("a", {"bin": Link("usr/bin")}), store.add("b", {"bin/x": "x"})]
    with unusual_modes(tree):
        copy_contents(contents, tree, store.root, keep_directory_links=True)
    assert modes(tree) == {"usr": 0o755, "usr/bin": 0o755}


def test_contents_without_a_root(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "file").write_text("x")
    link_contents([str(tmp_path / "content")], tree)
    assert (tree / "file").read_text() == "x"


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("bin/sh", "bash"),
        ("bin/sh", "../libexec/bash"),
        ("bin/sh", "./../bin/../bin/bash"),
        ("lib64", "lib"),
        ("lib64", "./lib"),
        ("bin/sh", "/nix/store/elsewhere/bin/sh"),
        ("etc/mtab", "/proc/mounts"),
        ("bin/none", "dangling"),
    ],
)
def test_links_are_kept(store: Store, tree: Path, name: str, target: str) -> None:
    a = store.add("a", {name: Link(target)})
    link_contents([a], tree, store.root)
    assert os.readlink(tree / name) == target


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("lib", "../other/lib"),
        ("bin/sh", "../../other/bin/sh"),
        ("bin/sh", "../bin/../../other/sh"),
        ("up", ".."),
        ("bin/up", "../.."),
    ],
)
def test_links_that_lead_out_of_their_tree(
    store: Store, tree: Path, name: str, target: str
) -> None:
    a = store.add("a", {name: Link(target)})
    link_contents([a], tree, store.root)
    assert os.readlink(tree / name) == f"{a}/{name}"


def test_the_first_file_wins(store: Store, tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    a = store.add("a", {"bin/tool": "a"})
    b = store.add("b", {"bin/tool": "b"})
    link_contents([a, b], tree, store.root)
    assert shown(tree)["bin/tool"] == f"{a}/bin/tool"
    assert caplog.messages == [
        f"/bin/tool is in two contents: {a}/bin/tool is used, {b}/bin/tool is not"
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_equal_files_need_no_warning(
    store: Store, tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a = store.add("a", {"f": "same", "l": Link("f"), "m": Link("/nix/store/x")})
    b = store.add("b", {"f": "same", "l": Link("f"), "m": Link("/nix/store/x")})
    link_contents([a, b, a, f"{a}/"], tree, store.root)
    assert shown(tree) == {"f": f"{a}/f", "l": "f", "m": "/nix/store/x"}
    assert caplog.messages == []


def test_different_files_need_a_warning(
    store: Store, tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a = store.add("a", {"mode": "same", "link": Link("a"), "kind": "same"})
    b = store.add("b", {"mode": "same", "link": Link("b"), "kind": Link("/nix/store/none")})
    Path(f"{store.root}{b}/mode").chmod(0o555)
    link_contents([a, b], tree, store.root)
    assert [message.split()[0] for message in caplog.messages] == ["/kind", "/link", "/mode"]
    assert shown(tree) == {"kind": f"{a}/kind", "link": "a", "mode": f"{a}/mode"}


def test_a_relative_link_to_a_directory_against_a_directory(store: Store, tree: Path) -> None:
    """As stdenv makes the one, and some packages have the other."""
    a = store.add("a", {"bin/tool": "a", "sbin": Link("bin")})
    b = store.add("b", {"sbin/other": "b"})
    wanted = {
        "bin": "/",
        "bin/tool": f"{a}/bin/tool",
        "sbin": "/",
        "sbin/other": f"{b}/sbin/other",
        "sbin/tool": f"{a}/sbin/tool",
    }
    link_contents([a, b], tree, store.root)
    assert shown(tree) == wanted
    again = tree.with_name("again")
    again.mkdir()
    link_contents([b, a], again, store.root)
    assert shown(again) == wanted


@pytest.mark.parametrize("leaf", ["file", Link("/nix/store/x"), Link("nowhere")])
def test_a_file_against_a_directory(store: Store, tree: Path, leaf: str) -> None:
    a = store.add("a", {"etc/x": leaf})
    b = store.add("b", {"etc/x/y": "b"})
    with pytest.raises(SpecError) as caught:
        link_contents([a, b], tree, store.root)
    assert str(caught.value) == f"contents: at /etc/x, {a} has a file, but {b} has a directory"
    assert (caught.value.key, caught.value.path) == ("contents", b)


@pytest.mark.parametrize("leaf", ["file", Link("/nix/store/x")])
def test_a_directory_against_a_file(store: Store, tree: Path, leaf: str) -> None:
    a = store.add("a", {"etc/x/y": "b"})
    b = store.add("b", {"etc/x": leaf})
    with pytest.raises(SpecError) as caught:
        link_contents([a, b], tree, store.root)
    assert str(caught.value) == f"contents: at /etc/x, {a} has a directory, but {b} has a file"


def test_a_content_that_is_a_file(
    store: Store, tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a = store.add("a", {"f": "a"})
    link_contents([f"{a}/f", a], tree, store.root)
    assert shown(tree) == {"f": f"{a}/f"}
    assert caplog.messages == [f"contents: {a}/f is ignored, because it is not a directory"]


def test_a_content_that_does_not_exist(store: Store, tree: Path) -> None:
    missing = f"/nix/store/{'d' * 32}-missing"
    with pytest.raises(SpecError) as caught:
        link_contents([missing], tree, store.root)
    assert str(caught.value) == f"contents[0]: {missing} does not exist below {store.root}"
    assert (caught.value.key, caught.value.path) == ("contents[0]", missing)
    with pytest.raises(SpecError, match=r"contents\[1\]: /none does not exist$"):
        link_contents([store.add("a", {"f": "a"}), "/none"], tree, store.root)


def test_a_content_that_can_not_be_looked_at(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = store.add("a", {"f": "a"})

    def fail(path: Path, **_: object) -> os.stat_result:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "stat", fail)
    message = f"^can't join {store.root}{a} at /: Permission denied$"
    with pytest.raises(PackError, match=message):
        list(JoinedTree(tree, store.root, Underlay()).content_directories([a]))


def test_a_content_that_is_a_link_to_a_directory(store: Store, tree: Path, tmp_path: Path) -> None:
    a = store.add("a", {"f": "a"})
    link = Path(f"{store.root}/nix/store/{'b' * 32}-b")
    link.symlink_to(f"{'a' * 32}-a")
    link_contents([f"/nix/store/{link.name}"], tree, store.root)
    assert (tree / "f").is_symlink()
    assert Path(f"{store.root}{os.readlink(tree / 'f')}").read_text() == "a"
    assert a


@pytest.mark.parametrize("copy", [False, True])
def test_a_content_that_leads_out_of_the_store_is_none(
    store: Store, tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, copy: bool
) -> None:
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine/secret").touch()
    store.add("a", {"f": "a"})
    content = f"/nix/store/{'b' * 32}-b"
    Path(f"{store.root}{content}").symlink_to(tmp_path / "machine")
    (copy_contents if copy else link_contents)([content], tree, store.root)
    assert shown(tree) == {}
    assert caplog.messages == [f"contents: {content} is ignored, because it is not a directory"]


@pytest.mark.parametrize("text", ["{}/machine", "../../../../machine"])
def test_links_out_of_the_store_show_nothing_of_this_machine(
    store: Store, tree: Path, tmp_path: Path, text: str
) -> None:
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine/secret").touch()
    target = text.format(tmp_path)
    a = store.add("a", {"f": "a", "etc": Link(target)})
    b = store.add("b", {"etc/mine": "b"})
    assert Path(f"{store.root}{a}/etc/secret").exists()
    copy_contents([a], tree, store.root)
    assert shown(tree) == {"etc": target, "f": "/"}
    for i, (contents, kinds) in enumerate(
        [((a, b), ("a file", "a directory")), ((b, a), ("a directory", "a file"))]
    ):
        (tmp_path / f"tree{i}").mkdir()
        with pytest.raises(SpecError) as caught:
            link_contents(contents, tmp_path / f"tree{i}", store.root)
        assert str(caught.value) == (
            f"contents: at /etc, {contents[0]} has {kinds[0]}, but {contents[1]} has {kinds[1]}"
        )


def test_links_of_an_extracted_base_show_nothing_of_this_machine(
    store: Store, tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine/secret").touch()
    (tree / "opt").symlink_to(tmp_path / "machine")
    a = store.add("a", {"opt/f": "a"})
    link_contents([f"{store.root}{a}"], tree)
    assert shown(tree) == {"opt": "/", "opt/f": f"{store.root}{a}/opt/f"}


def test_names_that_are_not_text(store: Store, tree: Path) -> None:
    name = os.fsdecode(b"latin-\xe9")
    a = store.add("a", {name: "a", "größe": "a"})
    link_contents([a], tree, store.root)
    assert shown(tree) == {name: f"{a}/{name}", "größe": f"{a}/größe"}


def test_a_content_that_can_not_be_read(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = store.add("a", {"f": "a"})

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PackError, match=f"can't join {store.root}{a} at /: Permission denied"):
        link_contents([a], tree, store.root)


# On top of a base image.


@contextmanager
def below(path: Path, *files: tarfile.TarInfo) -> Iterator[Underlay]:
    with (
        open_image(archive(path / "base.tar", [layer(*files)])) as file,
        merged_tree(file.images[0].layers) as tree,
    ):
        yield Underlay(tree)


def test_files_below_a_link_of_the_base_go_where_it_leads(
    store: Store, tree: Path, tmp_path: Path
) -> None:
    a = store.add("a", {"bin/tool": "a", "var/run/x": "a", "lib/a/b": "b"})
    files = [directory("usr/bin"), link("bin", "usr/bin"), link("var/run", "/run"),
             directory("run"), directory("lib")]  # fmt: skip
    with below(tmp_path, *files) as underlay:
        link_contents([a], tree, store.root, underlay)
    assert shown(tree) == {
        "lib": "/",
        "lib/a": "/",
        "lib/a/b": f"{a}/lib/a/b",
        "run": "/",
        "run/x": f"{a}/var/run/x",
        "usr": "/",
        "usr/bin": "/",
        "usr/bin/tool": f"{a}/bin/tool",
        "var": "/",
    }


def test_a_link_to_a_directory_does_not_hide_one_of_the_base(
    store: Store, tree: Path, tmp_path: Path
) -> None:
    one = store.add("a", {"bin/tool": "a"})
    env = store.add("b", {"bin": Link(f"{one}/bin"), "share": Link(f"{one}/bin")})
    with below(tmp_path, directory("bin")) as underlay:
        link_contents([env], tree, store.root, underlay)
    assert shown(tree) == {"bin": "/", "bin/tool": f"{env}/bin/tool", "share": f"{one}/bin"}


@pytest.mark.parametrize("turned", [False, True])
def test_real_directories_stay_real(store: Store, tree: Path, turned: bool) -> None:
    one = store.add("a", {"bin/tool": "a"})
    contents = [store.add("b", {"bin": Link(f"{one}/bin")}), store.add("c", {"bin/other": "c"})]
    link_contents(contents[::-1] if turned else contents, tree, store.root)
    assert shown(tree) == {
        "bin": "/",
        "bin/other": f"{contents[1]}/bin/other",
        "bin/tool": f"{contents[0]}/bin/tool",
    }


def test_links_of_the_base_are_there_for_scripts_and_gone_afterwards(
    tree: Path, tmp_path: Path
) -> None:
    with below(tmp_path, directory("usr/bin"), link("bin", "usr/bin"), link("x", "no")) as under:
        links = under.add_directory_links(tree)
        assert shown(tree) == {"bin": "usr/bin", "usr": "/", "usr/bin": "/"}
        under.remove_directory_links(tree, links)
        assert shown(tree) == {}
        (tree / "bin").mkdir()
        (tree / "bin/sh").symlink_to("x")
        under.remove_directory_links(tree, {})
        assert shown(tree) == {"usr": "/", "usr/bin": "/", "usr/bin/sh": "x"}


def test_a_script_may_put_a_directory_in_the_place_of_a_link(tree: Path, tmp_path: Path) -> None:
    with below(tmp_path, directory("usr/bin"), link("bin", "usr/bin")) as underlay:
        links = underlay.add_directory_links(tree)
        (tree / "bin").unlink()
        (tree / "bin").mkdir()
        underlay.remove_directory_links(tree, links)
    assert shown(tree) == {"bin": "/", "usr": "/", "usr/bin": "/"}


@pytest.mark.parametrize("is_directory", [False, True])
def test_a_script_may_not_make_a_file_and_a_directory_at_the_same_path(
    tree: Path, tmp_path: Path, is_directory: bool
) -> None:
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "bin").mkdir()
    file, other_directory = ("usr/bin/x", "bin/x") if is_directory else ("bin/x", "usr/bin/x")
    (tree / file).touch()
    (tree / other_directory).mkdir()
    with (
        below(tmp_path, directory("usr/bin"), link("bin", "usr/bin")) as underlay,
        pytest.raises(PackError, match="only one of /bin/x and /usr/bin/x is a dir") as caught,
    ):
        underlay.remove_directory_links(tree, {})
    assert caught.value.path == "/bin/x"


def test_without_a_base_image_paths_stay_as_they_are(tree: Path) -> None:
    underlay = Underlay()
    for path in ("", "bin", "usr/bin", os.fsdecode(b"latin-\xe9/x")):
        assert underlay.real_directory(path) == path
    (tree / "bin").mkdir()
    assert underlay.shared_directories(tree) == {}
    assert underlay.add_directory_links(tree) == {}


def test_shared_directories_keep_the_attributes_of_the_base(tree: Path, tmp_path: Path) -> None:
    (tree / "tmp/mine").mkdir(parents=True)
    with below(tmp_path, directory("tmp", mode=0o1777, uid=7), directory("opt")) as underlay:
        shared = underlay.shared_directories(tree)
    assert shared == {b"/tmp/": (0o1777, Attributes(7, 0, "", "root"))}


# Copies.


def files(tree: Path) -> dict[str, str]:
    """Each path below `tree` with a symlink's target, a slash for a directory, or a file's text."""
    return {
        name: (tree / name).read_text() if target == "/" and (tree / name).is_file() else target
        for name, target in shown(tree).items()
    }


def test_copies_are_files_and_later_ones_win(store: Store, tree: Path) -> None:
    a = store.add("a", {"bin/tool": "a", "etc/x": "a", "link": Link("bin/tool")})
    b = store.add("b", {"bin/tool": "b", "etc": None})
    copy_contents([a, b], tree, store.root)
    assert files(tree) == {"bin": "/", "bin/tool": "b", "etc": "/", "etc/x": "a",
                           "link": "bin/tool"}  # fmt: skip


@pytest.mark.parametrize("keep", [False, True])
def test_links_to_directories_in_copies(store: Store, tree: Path, keep: bool) -> None:
    a = store.add("a", {"usr/bin/x": "x", "bin": Link("usr/bin")})
    b = store.add("b", {"bin/y": "y"})
    copy_contents([a, b], tree, store.root, keep_directory_links=keep)
    expected = (
        {"bin": "usr/bin", "usr": "/", "usr/bin": "/", "usr/bin/x": "x", "usr/bin/y": "y"}
        if keep
        else {"bin": "/", "bin/x": "x", "bin/y": "y", "usr": "/", "usr/bin": "/", "usr/bin/x": "x"}
    )
    assert files(tree) == expected


def test_a_fifo_is_copied_as_one(store: Store, tree: Path) -> None:
    a = store.add("a", {"f": "x"})
    os.mkfifo(f"{store.root}{a}/pipe")
    copy_contents([a], tree, store.root)
    assert (tree / "pipe").is_fifo()


def test_a_socket_can_not_be_copied(store: Store, tree: Path) -> None:
    a = store.add("a", {"f": "x"})
    os.mknod(f"{store.root}{a}/socket", 0o644 | stat.S_IFSOCK)
    with pytest.raises(PackError, match=f"{a}/socket is a device or a socket"):
        copy_contents([a], tree, store.root)


def test_symlinks_to_themselves_and_to_parents_stay(store: Store, tree: Path) -> None:
    a = store.add(
        "a",
        {
            "self": Link("self"),
            "d/up": Link(".."),
            "d/here": Link("."),
            "d/e/f": "x",
            "other": Link("d/e"),
        },
    )
    copy_contents([a], tree, store.root)
    links = {name: os.readlink(tree / name) for name in ("self", "d/up", "d/here")}
    assert links == {"self": "self", "d/up": "..", "d/here": "."}
    assert (tree / "other/f").read_text() == "x"
    assert not (tree / "other").is_symlink()


def test_a_copied_file_on_a_full_directory(store: Store, tree: Path) -> None:
    contents = [store.add("a", {"d/x": "x"}), store.add("b", {"d": "file"})]
    with pytest.raises(SpecError, match=r"at /d, .*-a has a directory, but .*-b has a file"):
        copy_contents(contents, tree, store.root)


def test_a_copied_directory_takes_the_place_of_a_file(store: Store, tree: Path) -> None:
    copy_contents([store.add("a", {"d": "x"}), store.add("b", {"d/y": "y"})], tree, store.root)
    assert files(tree) == {"d": "/", "d/y": "y"}


def test_copies_keep_the_modes_of_files_only(store: Store, tree: Path) -> None:
    a = store.add("a", {"d/run": "x"})
    (Path(f"{store.root}{a}") / "d/run").chmod(0o555)
    (Path(f"{store.root}{a}") / "d").chmod(0o555)
    copy_contents([a], tree, store.root)
    assert [(tree / name).stat().st_mode & 0o7777 for name in ("d", "d/run")] == [0o755, 0o555]


def test_links_of_the_base_never_lead_out_of_the_tree(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tree / "lnk").symlink_to(tmp_path / "outside")
    with below(tmp_path, directory("lnk/deep"), link("bin", "lnk/deep"), link("top", ".")) as under:
        links = under.add_directory_links(tree)
        assert links == {}
        (tree / "bin").mkdir()
        (tree / "bin/own").touch()
        under.remove_directory_links(tree, links)
    assert list((tmp_path / "outside").iterdir()) == []
    assert (tree / "bin/own").exists()
