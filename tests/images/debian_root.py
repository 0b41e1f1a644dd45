"""A Debian root file system as a tar, made of the distribution's own packages."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from ..nix.debian import default_cache, download, locked, parse_index, resolve, run

PACKAGES = ("base-files", "base-passwd", "bash", "coreutils", "dash", "grep", "libc-bin", "sed")
# Debian's own installer makes these links first, and what it unpacks goes where they lead.
MERGED = ("bin", "lib", "lib64", "sbin")


def debian_root() -> Path:
    """Return the tar, made and kept in the cache when it is not there yet."""
    cache = default_cache()
    with locked(cache / "lock"):
        packages = resolve(PACKAGES, parse_index(run(["apt-cache", "dumpavail"])))
        recipe = repr([MERGED, *((p.name, p.version, p.sha256) for p in packages.values())])
        target = cache / f"debian-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.tar"
        if not target.exists():
            download(packages.values(), cache / "debs")
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                root = Path(scratch) / "root"
                for name in MERGED:
                    (root / "usr" / name).mkdir(parents=True)
                    (root / name).symlink_to(f"usr/{name}")
                for package in packages.values():
                    _unpack(cache / "debs" / package.file_name, root)
                (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
                _pack(root, Path(scratch) / "root.tar")
                (Path(scratch) / "root.tar").replace(target)
    return target


def _unpack(package: Path, root: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as files:
        subprocess.run(
            ["tar", "-x", "--keep-directory-symlink", "--numeric-owner", "-C", root],
            stdin=files.stdout,
            check=True,
        )
    if files.returncode:
        raise OSError(f"{package} can't be unpacked")


def _pack(root: Path, target: Path) -> None:
    options = ["--numeric-owner", "--sort=name", "--mtime=@1", "--format=gnu"]
    env = {**os.environ, "LC_ALL": "C"}
    subprocess.run(["tar", "-c", "-f", target, *options, "-C", root, "."], env=env, check=True)
