"""File trees for tests: making them, and strategies for all kinds of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

__all__ = ["Tree", "make", "names", "targets", "trees"]

# Files by name: contents and mode of a file, the target of a symlink, the tree of a directory, or a
# number for a hard link to one of the earlier files.
Tree = dict[bytes, Any]


def make(directory: Path, tree: Mapping[bytes, Any]) -> None:
    """Create `directory` with the files of `tree`."""
    directory.mkdir()
    _make_below(directory, tree, [])


def _make_below(directory: Path, tree: Mapping[bytes, Any], files: list[Path]) -> None:
    for name, node in tree.items():
        path = directory / os.fsdecode(name)
        match node:
            case (bytes() as data, int() as mode):
                path.write_bytes(data)
                path.chmod(mode)
                files.append(path)
            case bytes():
                path.symlink_to(os.fsdecode(node))
            case int() if files:
                path.hardlink_to(files[node % len(files)])
            case dict():
                path.mkdir()
                _make_below(path, node, files)
                path.chmod(0o555 if os.geteuid() == 0 else 0o755)


def _is_name(name: bytes) -> bool:
    return name not in {b".", b".."} and not name.startswith(b".wh.") and 0 < len(name) <= 255


plain_names = st.text("ab.-_A0 ", min_size=1, max_size=8).map(str.encode)
text_names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=60
).map(str.encode)
byte_names = st.binary(min_size=1, max_size=20).map(
    lambda name: name.replace(b"\0", b"\xff").replace(b"/", b"\xfe")
)
long_names = st.integers(90, 255).map(lambda length: b"n" * length)
names = st.one_of(plain_names, plain_names, text_names, byte_names, long_names).filter(_is_name)
targets = st.one_of(
    st.just(b"/nix/store/elsewhere"), text_names, byte_names, st.integers(95, 300).map(b"t".__mul__)
)
file_modes = st.sampled_from([0o444, 0o555, 0o644, 0o4755, 0o2711, 0o1666, 0o400])
files = st.tuples(st.one_of(st.just(b""), st.binary(max_size=1500)), file_modes)
leaves: st.SearchStrategy[Any] = st.one_of(files, targets, st.integers(0, 9), st.just({}))
trees = st.recursive(
    st.dictionaries(names, leaves, max_size=6),
    lambda children: st.dictionaries(names, st.one_of(leaves, children), max_size=6),
    max_leaves=12,
)
