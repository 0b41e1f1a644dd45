"""Check that the programs which the tests use are installed; on Debian, as root, install them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Program or file: Debian package.
TOOLS = {
    "/usr/include/stdio.h": "libc6-dev",
    "/usr/share/gocode/src/github.com/opencontainers/image-spec/schema": (
        "golang-github-opencontainers-image-spec-dev"
    ),
    "/usr/share/doc/libdeflate0": "libdeflate0",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "apt-get": "apt",
    "bash": "bash",
    "bsdtar": "libarchive-tools",
    "busybox": "busybox-static",
    "chromium": "chromium",
    "ctr-remote": "stargz-snapshotter",
    "curl": "curl",
    "docker": "docker.io",
    "docker-registry": "docker-registry",
    "dockerd": "docker.io",
    "dpkg-deb": "dpkg",
    "fakeroot": "fakeroot",
    "file": "file",
    "fish": "fish",
    "gcc": "gcc",
    "git": "git",
    "jq": "jq",
    "man": "man-db",
    "mandoc": "mandoc",
    "mount": "mount",
    "nix-build": "nix-bin",
    "openssl": "openssl",
    "patchelf": "patchelf",
    "pigz": "pigz",
    "podman": "podman",
    # perl-base lacks it, as it does the module for Berkeley DB.
    "prove": "perl",
    "rpmbuild": "rpm",
    "runc": "runc",
    "setpriv": "util-linux",
    "skopeo": "skopeo",
    "strace": "strace",
    "su": "util-linux",
    "tar": "tar",
    "tar-split": "tar-split",
    "umoci": "umoci",
    "unshare": "util-linux",
    "xz": "xz-utils",
    "zsh": "zsh",
}


def main() -> int:
    """Install missing programs, and return 1 if some are still missing."""
    missing = _missing()
    if not missing:
        return _read_lists()
    packages = sorted(set(missing.values()))
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"error: the tests need {', '.join(sorted(missing))}", file=sys.stderr)
        print(f"install them; on Debian, as root: {' '.join(install)}", file=sys.stderr)
        return 1
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print(f"installing {' '.join(packages)}", flush=True)
    subprocess.run(["apt-get", "update", "--quiet=2"], env=env, check=True)
    subprocess.run([*install, "--quiet=2"], env=env, check=True)
    if still := _missing():
        print(f"error: still missing after installing: {', '.join(still)}", file=sys.stderr)
        return 1
    return 0


def _read_lists() -> int:
    """Let apt read its package lists where it has none: the test package set looks them up."""
    lists = Path("/var/lib/apt/lists")
    if lists.is_dir() and not any(lists.glob("*_Packages*")) and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "--quiet=2"], check=True)
    return 0


def _missing() -> dict[str, str]:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin:/usr/sbin:/sbin"])
    missing = {
        tool: package
        for tool, package in TOOLS.items()
        if not (Path(tool).exists() if "/" in tool else shutil.which(tool, path=path))
    }
    # Debian packages ensurepip, which virtual environments need, apart from Python.
    if importlib.util.find_spec("ensurepip") is None:
        missing["python3 -m venv"] = "python3-venv"
    return missing


if __name__ == "__main__":
    sys.exit(main())
