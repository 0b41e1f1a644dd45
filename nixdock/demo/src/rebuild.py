#!/usr/bin/env python3
"""Build the demo's closure with Nix, and write it to `closure.tar` and `graph.json`.

Run this as root on Debian 12 with nix-bin, gcc and gcc-aarch64-linux-gnu. It downloads nothing, and
it uses a separate store, so the contents of the machine's store have no influence.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ARCHITECTURES = ("amd64", "arm64")
SETTINGS = {
    "build-users-group": "",
    "substituters": "",
    "sandbox": "true",
    "sandbox-fallback": "false",
    "allowed-impure-host-deps": "/usr /lib /lib64",
    "experimental-features": "nix-command",
}
# Other keys, such as the registration time and the deriver, describe one build, not the closure.
KEPT = ("path", "narHash", "narSize", "references")


class Store:
    """A Nix store below a separate directory, with store paths in /nix/store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        config = "".join(f"{name} = {value}\n" for name, value in SETTINGS.items())
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NIX_")}
        self.env = kept | {"NIX_CONFIG": config}

    def run(self, *args: str) -> str:
        """Run a Nix command on this store and return its standard output."""
        command = (*args, "--store", str(self.root))
        done = subprocess.run(command, env=self.env, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    def build(self, architecture: str) -> str:
        """Build the closure for `architecture` and return its root."""
        arguments = ("--argstr", "architecture", architecture)
        file = str(HERE / "closure.nix")
        return self.run("nix-build", "--no-out-link", *arguments, file).strip()

    def graph(self, path: str) -> list[dict[str, Any]]:
        """Return the path infos of the closure of `path`, sorted by path."""
        known = json.loads(self.run("nix", "path-info", "--json", "--recursive", path))
        if isinstance(known, dict):
            known = [{**info, "path": name} for name, info in known.items()]
        infos = [{key: info[key] for key in KEPT} for info in known]
        for info in infos:
            info["references"].sort()
        return sorted(infos, key=lambda info: str(info["path"]))


def members(path: Path) -> Iterator[Path]:
    """Yield `path` and everything below it, sorted, parents first."""
    yield path
    if path.is_dir() and not path.is_symlink():
        for child in sorted(path.iterdir()):
            yield from members(child)


def write_archive(root: Path, paths: list[str], target: Path) -> None:
    """Write the store paths with the modes and the time that they have in a Nix store."""
    # Uncompressed: compressed bytes would depend on the version of a library.
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for store_path in paths:
            for path in members(root / store_path.removeprefix("/")):
                add(archive, path, str(path.relative_to(root)))


def add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add one file; a hard link, as in an optimised store, becomes a separate file."""
    status = path.lstat()
    member = tarfile.TarInfo(name)
    member.mode = stat.S_IMODE(status.st_mode)
    member.mtime = int(status.st_mtime)
    if path.is_symlink():
        member.type = tarfile.SYMTYPE
        member.linkname = os.readlink(path)
        archive.addfile(member)
    elif path.is_dir():
        member.type = tarfile.DIRTYPE
        archive.addfile(member)
    else:
        member.size = status.st_size
        with path.open("rb") as file:
            archive.addfile(member, file)


def main() -> None:
    """Write both files to the parent directory, or to the directory given by -o."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=HERE.parent, metavar="DIRECTORY")
    output = parser.parse_args().output
    with tempfile.TemporaryDirectory(prefix="nixdock-") as temporary:
        store = Store(Path(temporary).resolve() / "root")
        try:
            graphs = {name: store.graph(store.build(name)) for name in ARCHITECTURES}
        except FileNotFoundError as error:
            sys.exit(f"error: {error.filename} is missing; on Debian: apt-get install nix-bin")
        except subprocess.CalledProcessError as error:
            sys.exit(f"error: {error.cmd[0]} failed with exit status {error.returncode}")
        paths = sorted({info["path"] for graph in graphs.values() for info in graph})
        write_archive(store.root, paths, output / "closure.tar")
        text = json.dumps(graphs, indent=1, sort_keys=True) + "\n"
        (output / "graph.json").write_text(text)
        # Nix makes store paths read-only, and only root can remove them.
        shutil.rmtree(store.root)


if __name__ == "__main__":
    main()
