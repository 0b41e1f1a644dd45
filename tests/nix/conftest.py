"""Give the tests Nix, the package set, and a root with nothing but the store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from . import debian
from .harness import BareRoot, Nix

TOOLS = {
    "apt-get": "apt",
    "chroot": "coreutils",
    "dpkg-deb": "dpkg",
    "nix-build": "nix-bin",
    "unshare": "util-linux",
}


@pytest.fixture(scope="session")
def pkgs() -> Path:
    """Prepare the cache and return the directory of the package set."""
    for tool, package in TOOLS.items():
        assert shutil.which(tool), f"{tool} is missing: apt-get install {package}"
    assert Path("/usr/bin/python3").exists(), "/usr/bin/python3 is missing: apt-get install python3"
    return debian.prepare()


@pytest.fixture(scope="session")
def nix(pkgs: Path) -> Nix:
    """Return Nix with the package set as `pkgs` and `<nixpkgs>`."""
    return Nix(pkgs)


@pytest.fixture(scope="session")
def nix_store(nix: Nix) -> Path:
    """Return the store's directory."""
    return Path(nix.run("nix-instantiate", "--eval", "-E", "builtins.storeDir").strip().strip('"'))


@pytest.fixture
def bare_root(tmp_path: Path) -> BareRoot:
    """Return an empty root."""
    (tmp_path / "root/nix/store").mkdir(parents=True)
    return BareRoot(tmp_path / "root")
