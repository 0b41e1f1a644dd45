"""What the Nix package installs beside the program."""

from __future__ import annotations

import gzip
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from manual.completions import COMPLETION_FILES
from manual.man_pages import man_pages

from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]


@pytest.fixture(scope="module")
def package(library: Library) -> Path:
    return library.build("nixdock.package")


def test_man_finds_the_pages(package: Path) -> None:
    """Whether they are compressed, as in nixpkgs, or not."""
    installed = {
        file.name.removesuffix(".gz"): file for file in (package / "share/man/man1").iterdir()
    }
    assert installed.keys() == man_pages("").keys()
    for name, file in installed.items():
        data = file.read_bytes()
        text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode()
        assert text.startswith(
            f".TH {name.removesuffix('.1').upper().replace('-', chr(92) + '-')} 1 "
        )
        assert f"nixdock {version('nixdock')}" in text.splitlines()[0]


def test_shells_find_the_completions(package: Path) -> None:
    for name in COMPLETION_FILES.values():
        assert "_nixdock_completion" in (package / "share" / name).read_text()
    bash = package / "share" / COMPLETION_FILES["bash"]
    script = f"PATH={package}/bin:$PATH; source {bash}; COMP_WORDS=(nixdock verif); COMP_CWORD=1"
    show = '_nixdock_completion nixdock; echo "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", f"{script}; {show}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "verify\n"


def test_the_manual_is_no_part_of_the_program(package: Path) -> None:
    assert [*package.rglob("manual")] == []


def test_brotli_is_there_if_that_is_wanted(library: Library) -> None:
    """The package set of the tests lacks it: another package takes its place."""
    names = library.evaluate(
        """let
             stands-in = pkgs.python3Packages // { brotli = pkgs.hello; };
             package = nixdock.package.override { python3Packages = stands-in; };
             names = package: map (each: each.name) package.dependencies;
           in pkgs.lib.subtractLists (names package)
             (names (package.override { withBrotli = true; }))"""
    )
    assert names == ["hello-2.10-3"]
