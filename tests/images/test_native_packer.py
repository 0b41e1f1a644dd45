"""The Nix package has the native packer, and layers are the same with and without it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]


def test_both_packers_of_the_package(library: Library, tmp_path: Path) -> None:
    program = library.build("nixdock.package") / "bin/nixdock"
    conf = library.build(
        """(nixdock.streamLayeredImage {
             name = "packers"; contents = [ pkgs.hello ]; maxLayers = 9; }).conf"""
    )
    digests = {
        subprocess.run(
            [program, "build", "-q", "--no-cache", "--dry-run", conf],
            env={"NIXDOCK_PACKER": packer, "HOME": str(tmp_path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for packer in ("native", "python")
    }
    assert len(digests) == 1
    assert digests.pop().count("sha256:") > 3
