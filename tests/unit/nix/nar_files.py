"""File trees for tests of NARs: drawn, written to disk, and encoded by the text of the manual."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class File:
    data: bytes
    executable: bool = False

    def __repr__(self) -> str:
        data = f"bytes({len(self.data)})" if len(self.data) > 100 else repr(self.data)
        return f"File({data}, {self.executable})"


@dataclass(frozen=True)
class Link:
    target: bytes


Tree = File | Link | Mapping[bytes, Any]
"""A file, a symlink, or a directory's trees by name."""


def string(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + data + bytes(-len(data) % 8)


def strings(*texts: str) -> bytes:
    return b"".join(string(text.encode()) for text in texts)


def dump(tree: Tree) -> bytes:
    """Return the NAR of a tree."""
    return strings("nix-archive-1") + node(tree)


def node(tree: Tree) -> bytes:
    if isinstance(tree, File):
        mark = strings("executable", "") if tree.executable else b""
        body = strings("regular") + mark + strings("contents") + string(tree.data)
    elif isinstance(tree, Link):
        body = strings("symlink", "target") + string(tree.target)
    else:
        entries = (entry(name, node(child)) for name, child in sorted(tree.items()))
        body = strings("directory") + b"".join(entries)
    return strings("(", "type") + body + strings(")")


def entry(name: bytes, child: bytes) -> bytes:
    """Return the entry of a directory."""
    return strings("entry", "(", "name") + string(name) + strings("node") + child + strings(")")


def write(tree: Tree, path: bytes) -> None:
    """Write a tree to disk, with the modes that Nix gives to store paths."""
    file = Path(os.fsdecode(path))
    if isinstance(tree, Link):
        file.symlink_to(os.fsdecode(tree.target))
    elif isinstance(tree, File):
        file.write_bytes(tree.data)
        file.chmod(0o555 if tree.executable else 0o444)
    else:
        file.mkdir()
        for name, child in tree.items():
            write(child, path + b"/" + name)
        file.chmod(0o555)


def names(*, any_bytes: bool) -> st.SearchStrategy[bytes]:
    """Draw names of files: of few letters, so that some are starts of others, or of any text."""
    short = st.text("abAB.-é~", min_size=1, max_size=4)
    other = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=60)
    kinds = [short.map(str.encode), other.map(lambda text: text.encode()[:255])]
    if any_bytes:
        kinds.append(st.binary(min_size=1, max_size=9))
    return st.one_of(kinds).filter(
        lambda name: (
            name not in {b"", b".", b".."}
            and not name.startswith(b".wh.")
            and not set(name) & {0, 47}
        )
    )


def trees(*, any_bytes: bool = False, most: int = 20) -> st.SearchStrategy[Tree]:
    """Draw trees; unless `any_bytes` is set, the names in them are UTF-8."""
    files = st.builds(
        File, st.binary(max_size=100) | st.builds(bytes, st.just(70_001)), st.booleans()
    )
    targets = st.binary(min_size=1, max_size=100).filter(lambda target: 0 not in target)
    leaves = files | st.builds(Link, targets)
    name = names(any_bytes=any_bytes)
    return st.recursive(
        leaves,
        lambda children: st.dictionaries(name, children, max_size=6),
        max_leaves=most,
    )
