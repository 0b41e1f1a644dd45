"""Names of the files in layers, of which hostile layers can have many, and long ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import ImageError
from nixdock.oci.location import location_of
from nixdock.policy.names import with_directories
from nixdock.policy.paths import LayerContents, denied_names, read_contents
from nixdock.policy.patterns import Patterns
from nixdock.read.selection import select_image
from nixdock.registry.opening import open_location
from tests.unit.docker_archive import archive, entry, layer

DEEP = [b"%d/" % i + b"a/" * 2000 + b"b" for i in range(200)]


def contents(path: Path, *layers: Sequence[str], pattern: str = "b$") -> list[LayerContents]:
    file = archive(path / "image.tar", [layer(*map(entry, names)) for names in layers])
    with open_location(location_of(file)) as opened:
        return read_contents(select_image(opened).layers, Patterns.of([pattern]), is_local=True)


@given(st.sets(st.text("ab/", min_size=1, max_size=6), max_size=8))
def test_directories_without_an_entry(texts: set[str]) -> None:
    root = PurePosixPath()
    paths = {PurePosixPath(text.strip("/")) for text in texts} - {root}
    expected = {each for path in paths for each in (path, *path.parents)} - {root}
    found = with_directories({bytes(path) for path in paths})
    assert found == {bytes(path) for path in expected}


def test_what_a_layer_removes_makes_no_directory() -> None:
    assert with_directories({b"a/b/.wh.c"}) == {b"a/b/.wh.c"}


def test_names_of_directories_are_limited() -> None:
    """A layer of some KB can imply names of gigabytes."""
    assert len(with_directories(DEEP[:10])) == 10 * 2002
    with pytest.raises(ImageError, match=r"layer 3: the names of directories .* than 268435456"):
        with_directories(DEEP, "layer 3")


def test_names_of_all_layers_are_limited_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nixdock.policy.names._STEP", 1)
    monkeypatch.setattr("nixdock.policy.names._MOST_NAMES", 706)
    names = ["a", "b", "c"]
    found = contents(tmp_path, names, [*names, "."], pattern="b$")
    assert [each.denied for each in found] == [{b"b": "b$"}] * 2
    with pytest.raises(ImageError, match=r"Layers\[\d\]: the names in this layer .* than 706"):
        contents(tmp_path, names, [*names, "d"])


def test_an_invalid_name_is_one_of_a_layer(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"Layers\[1\]: a member has an invalid name: .*'\.\.'"):
        contents(tmp_path, ["a"], ["b", "../c"])


def test_what_is_in_denied_directories_takes_little_time() -> None:
    """Names are compared with the last denied directory alone, not with all above them."""
    names = [*with_directories(DEEP[:20]), b"a-", b"a/c"]
    start = time.process_time()
    denied = denied_names(names, Patterns.of(["^/1", "^/a/c"]))
    assert time.process_time() - start < 5
    assert [*denied] == [b"1", *(b"1%d" % i for i in range(10)), b"a/c"]
