"""Layers that nixdock accepts with a warning: Podman shows whether it is the right one."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest

from tests.unit.docker_archive import archive
from tests.unit.rootfs.test_lenient_bases import LAYERS, PLAIN, with_layer

from ..runtime.command import ToolError
from ..runtime.engine import Podman

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("containers")]

# Podman refuses these, in the overlay storage or in any.
REFUSED = {
    "a directory twice",
    "a hard link to a lower layer",
    "a file below its layer's link into a lower layer",
    "a file that its layer deletes",
    "a directory that is deleted before it is made",
}


@pytest.mark.parametrize("name", sorted(LAYERS.keys() - REFUSED))
def test_podman_unpacks_the_same_files(podman: Podman, tmp_path: Path, name: str) -> None:
    layers, files, _ = LAYERS[name]
    path = archive(tmp_path / "base.tar", layers)
    podman("load", "-i", path)
    container = podman("create", "x:y", "command").stdout.strip()
    try:
        podman("export", "-o", tmp_path / "root.tar", container)
    finally:
        podman("rm", container)
        podman("rmi", "x:y")
    found = {}
    with tarfile.open(tmp_path / "root.tar") as tar:
        for member in tar:
            if member.isreg() or member.islnk():
                file = tar.extractfile(member)
                found[member.name] = file.read() if file else None
    assert found == files


def test_podman_refuses_what_the_warnings_say(podman: Podman, tmp_path: Path) -> None:
    layers, _, message = LAYERS["a directory twice"]
    assert "Docker and Podman" in message
    twice = archive(tmp_path / "twice.tar", layers)
    padded = with_layer(tmp_path / "padded.tar", gzip.compress(PLAIN) + bytes(700))
    for path in (twice, padded):
        with pytest.raises(ToolError):
            podman("load", "-i", path)
