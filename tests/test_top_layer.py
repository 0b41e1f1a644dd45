"""The top layer: how trees are joined, what the script may do, and keeping the result."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from nixdock.errors import NixdockError, PackError, SpecError
from nixdock.layer import LayerSource
from nixdock.tar_header import MemberMeta
from nixdock.top_layer import (
    join,
    prepared_tree,
    read_top_layer,
    run_script,
    write_top_layer,
)

# Below a store path: the text of a file, None for a directory, or what a link points to.
Files = Mapping[str, "str | Link | None"]


class Link(str):
    """The target of a symbolic link."""

    __slots__ = ()


class Store:
    """A store below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)

    def add(self, letter: str, files: Files) -> str:
        """Make a store path of these files and return it."""
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
    """Each name below `tree` with the target of its link, or a slash for a directory."""
    return {
        str(path.relative_to(tree)): os.readlink(path) if path.is_symlink() else "/"
        for path in sorted(tree.rglob("*"))
    }


def test_directories_are_real_and_leaves_are_links(store: Store, tree: Path) -> None:
    a = store.add("a", {"bin/tool": "a", "share/doc/readme": "a", "empty": None})
    b = store.add("b", {"bin/other": "b", "share/man": "b"})
    join([a, b], tree, store.root)
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
        join([a], tree, store.root)
    finally:
        os.umask(before)
    assert [p.stat().st_mode & 0o7777 for p in (tree, tree / "d", tree / "d/e")] == [0o755] * 3


def test_a_store_at_its_own_place(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "file").write_text("x")
    join([str(tmp_path / "content")], tree)
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
    join([a], tree, store.root)
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
    join([a], tree, store.root)
    assert os.readlink(tree / name) == f"{a}/{name}"


def test_the_first_file_wins(store: Store, tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    a = store.add("a", {"bin/tool": "a"})
    b = store.add("b", {"bin/tool": "b"})
    join([a, b], tree, store.root)
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
    join([a, b, a, f"{a}/"], tree, store.root)
    assert shown(tree) == {"f": f"{a}/f", "l": "f", "m": "/nix/store/x"}
    assert caplog.messages == []


def test_what_differs_needs_a_warning(
    store: Store, tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a = store.add("a", {"mode": "same", "link": Link("a"), "kind": "same"})
    b = store.add("b", {"mode": "same", "link": Link("b"), "kind": Link("/nix/store/none")})
    Path(f"{store.root}{b}/mode").chmod(0o555)
    join([a, b], tree, store.root)
    assert [message.split()[0] for message in caplog.messages] == ["/kind", "/link", "/mode"]
    assert shown(tree) == {"kind": f"{a}/kind", "link": "a", "mode": f"{a}/mode"}


@pytest.mark.parametrize("leaf", ["file", Link("/nix/store/x"), Link("nowhere")])
def test_a_file_against_a_directory(store: Store, tree: Path, leaf: str) -> None:
    a = store.add("a", {"etc/x": leaf})
    b = store.add("b", {"etc/x/y": "b"})
    with pytest.raises(SpecError) as caught:
        join([a, b], tree, store.root)
    assert str(caught.value) == f"contents: at /etc/x, {a} has a file, but {b} has a directory"


@pytest.mark.parametrize("leaf", ["file", Link("/nix/store/x")])
def test_a_directory_against_a_file(store: Store, tree: Path, leaf: str) -> None:
    a = store.add("a", {"etc/x/y": "b"})
    b = store.add("b", {"etc/x": leaf})
    with pytest.raises(SpecError) as caught:
        join([a, b], tree, store.root)
    assert str(caught.value) == f"contents: at /etc/x, {a} has a directory, but {b} has a file"


def test_a_content_that_is_a_file(
    store: Store, tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a = store.add("a", {"f": "a"})
    join([f"{a}/f", a], tree, store.root)
    assert shown(tree) == {"f": f"{a}/f"}
    assert caplog.messages == [f"{a}/f is not a directory: nothing of it is put at /"]


def test_a_content_that_does_not_exist(store: Store, tree: Path) -> None:
    missing = f"/nix/store/{'d' * 32}-missing"
    with pytest.raises(SpecError, match=f"contents: {missing} does not exist"):
        join([missing], tree, store.root)


def test_a_content_that_is_a_link_to_a_directory(store: Store, tree: Path, tmp_path: Path) -> None:
    a = store.add("a", {"f": "a"})
    link = Path(f"{store.root}/nix/store/{'b' * 32}-b")
    link.symlink_to(f"{'a' * 32}-a")
    join([f"/nix/store/{link.name}"], tree, store.root)
    assert (tree / "f").is_symlink()
    assert Path(f"{store.root}{os.readlink(tree / 'f')}").read_text() == "a"
    assert a


def test_names_that_are_not_text(store: Store, tree: Path) -> None:
    name = os.fsdecode(b"latin-\xe9")
    a = store.add("a", {name: "a", "größe": "a"})
    join([a], tree, store.root)
    assert shown(tree) == {name: f"{a}/{name}", "größe": f"{a}/größe"}


def test_a_content_that_can_not_be_read(
    store: Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = store.add("a", {"f": "a"})

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PackError, match=f"can't join {store.root}{a}/: Permission denied"):
        join([a], tree, store.root)


# The script.


def test_the_script_runs_in_the_tree_with_the_usual_mask(tree: Path) -> None:
    before = os.umask(0o077)
    try:
        run_script("pwd > here; mkdir d; mkdir -m 1777 tmp", tree)
    finally:
        os.umask(before)
    assert (tree / "here").read_text() == f"{tree}\n"
    modes = {path.name: path.stat().st_mode & 0o7777 for path in tree.iterdir()}
    assert modes == {"here": 0o644, "d": 0o755, "tmp": 0o1777}


@pytest.mark.parametrize(
    "script",
    [
        """echo "a 'b' (c) $((1 + 1)) \\$HOME" '$x' > out""",
        """x="a 'b' (c) 2 "'$HOME $x'\necho "$x" > out\n""",
        "cat > out <<'END'\na 'b' (c) 2 $HOME $x\nEND\n",
    ],
)
def test_quotes_and_parentheses_survive(tree: Path, script: str) -> None:
    run_script(script, tree)
    assert (tree / "out").read_text() == "a 'b' (c) 2 $HOME $x\n"


def test_a_script_that_is_not_ascii(tree: Path) -> None:
    run_script("echo 'größe 大' > größe", tree)
    assert (tree / "größe").read_bytes() == "größe 大\n".encode()


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("false\ntouch on", 1), ("(", 1)])
def test_a_script_that_fails(tree: Path, script: str, status: int) -> None:
    with pytest.raises(NixdockError, match="extra_commands failed with exit status ") as caught:
        run_script(script, tree)
    assert str(caught.value).endswith(f" {status}") or script == "("
    assert list(tree.iterdir()) == []


def test_a_pipe_that_fails_in_the_middle_is_as_in_a_shell(tree: Path) -> None:
    run_script("false | touch on", tree)
    assert (tree / "on").exists()


def test_a_script_that_is_killed(tree: Path) -> None:
    with pytest.raises(NixdockError, match="extra_commands"):
        run_script("kill -KILL $$", tree)


def test_the_script_does_not_write_to_standard_output(
    tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_script("echo said; echo complained >&2; cat", tree)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "said\ncomplained\n"


def test_the_script_may_use_a_builders_setup(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stdenv").mkdir()
    (tmp_path / "stdenv" / "setup").write_text('greet() { echo "$1 $attribute"; }\n')
    (tmp_path / "attrs.sh").write_text("attribute='from attrs'\n")
    monkeypatch.setenv("stdenv", str(tmp_path / "stdenv"))
    monkeypatch.setenv("NIX_ATTRS_SH_FILE", str(tmp_path / "attrs.sh"))
    run_script("greet hello > out", tree)
    assert (tree / "out").read_text() == "hello from attrs\n"


def test_no_shell(tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NixdockError, match="neither bash nor sh is in PATH"):
        run_script("true", tree)


# The whole.


def tar_of(source: LayerSource) -> bytes:
    out = io.BytesIO()
    source.write_to(out.write)
    return out.getvalue()


def members(data: bytes) -> Iterator[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        yield from tar


def test_the_script_sees_the_joined_tree_and_changes_it(store: Store) -> None:
    a = store.add("a", {"bin/tool": "a", "bin/gone": "a"})
    script = "rm bin/gone; ln -s tool bin/other; mkdir -p var/empty; echo x > etc"
    with prepared_tree([a], script, MemberMeta(mtime=99), store.root) as source:
        found = list(members(tar_of(source)))
    assert [(m.name, m.mode, m.linkname) for m in found] == [
        ("", 0o755, ""),
        ("/bin", 0o755, ""),
        ("/bin/other", 0o777, "tool"),
        ("/bin/tool", 0o777, f"{a}/bin/tool"),
        ("/etc", 0o644, ""),
        ("/var", 0o755, ""),
        ("/var/empty", 0o755, ""),
    ]
    assert {(m.mtime, m.uid, m.gid) for m in found} == {(99, 0, 0)}


def test_special_modes_survive() -> None:
    script = "mkdir -m 1777 tmp; mkdir -m 2755 mail; echo x > su; chmod 4755 su; chmod 0700 ."
    with prepared_tree([], script, MemberMeta()) as source:
        modes = {member.name: member.mode for member in members(tar_of(source))}
    assert modes == {"": 0o755, "/mail": 0o2755, "/su": 0o4755, "/tmp": 0o1777}


def test_a_tree_lasts_as_long_as_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with prepared_tree([], "mkdir -p a/b; chmod 0555 a", MemberMeta()):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_no_nix_directory_for_nothing() -> None:
    with prepared_tree([], "  \n", MemberMeta()) as source:
        assert [member.name for member in members(tar_of(source))] == [""]


def test_written_and_read(tmp_path: Path) -> None:
    target = tmp_path / "top"
    with prepared_tree([], "echo x > f", MemberMeta()) as source:
        expected = tar_of(source)
        write_top_layer(source, target)
    digest = hashlib.sha256(expected).hexdigest()
    assert (target / "layer.tar").read_bytes() == expected
    assert (target / "checksum").read_text() == f"{digest}\n"
    assert sorted(os.listdir(tmp_path)) == ["top"]
    read = read_top_layer(target)
    assert read.diff_id == f"sha256:{digest}"
    assert tar_of(read) == expected
    with prepared_tree([], "echo y > f", MemberMeta()) as source:
        write_top_layer(source, target)
    assert read_top_layer(target).diff_id != read.diff_id, "an earlier one is replaced"


def test_no_top_layer_in_it(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"is not a top layer with layer\.tar and checksum"):
        read_top_layer(tmp_path)
    (tmp_path / "checksum").write_text("../../etc/passwd\n")
    with pytest.raises(SpecError, match="is not a digest"):
        read_top_layer(tmp_path)
    (tmp_path / "checksum").write_bytes(b"\xff")
    with pytest.raises(SpecError, match="is not a top layer"):
        read_top_layer(tmp_path)


def test_a_top_layer_that_was_changed(tmp_path: Path) -> None:
    with prepared_tree([], "", MemberMeta()) as source:
        write_top_layer(source, tmp_path / "top")
    with (tmp_path / "top" / "layer.tar").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(PackError, match=r"layer\.tar has the digest"):
        tar_of(read_top_layer(tmp_path / "top"))
