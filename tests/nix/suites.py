"""Programs of another suite of Debian than the machine's, unpacked into the tests' cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from .debian import default_cache, locked, parse_index, resolve
from .harness import run

__all__ = ["give_libraries", "unpacked"]

MIRROR: Final = "http://deb.debian.org/debian"
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"


def unpacked(
    suite: str, name: str, packages: Sequence[str], finish: Callable[[Path], None]
) -> Path:
    """Return a directory with packages of a suite, and all that they need, as apt finds it there.

    `finish` makes it fit for use, once.
    """
    directory = default_cache() / f"{name}-{suite}"
    with locked(default_cache() / f"{name}-{suite}.lock"):
        complete = directory / "complete"
        if not complete.exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            _unpack(suite, packages, directory)
            finish(directory)
            complete.touch()
    return directory


def _unpack(suite: str, packages: Sequence[str], directory: Path) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        env = {**os.environ, "APT_CONFIG": str(_apt_configuration(suite, Path(scratch)))}
        run(["apt-get", "--quiet", "update"], env)
        found = resolve(packages, parse_index(run(["apt-cache", "dumpavail"], env)))
        wanted = [f"{package.name}={package.version}" for package in found.values()]
        run(["apt-get", "--quiet", "download", *wanted], env, Path(scratch))
        for file in sorted(Path(scratch).glob("*.deb")):
            run(["dpkg-deb", "--extract", file, directory], env)


def _apt_configuration(suite: str, scratch: Path) -> Path:
    """Write a configuration that knows this suite alone, and keeps the machine's lists as they are.

    The machine's other settings stay: a proxy may be among them.
    """
    (scratch / "lists/partial").mkdir(parents=True)
    (scratch / "status").touch()
    (scratch / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n")
    settings = {
        "Dir::Etc::sourcelist": scratch / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferences": "-",
        "Dir::Etc::preferencesparts": "-",
        "Dir::State": scratch,
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch,
        "Acquire::Languages": "none",
        # The user of apt's sandbox can't read the cache of root.
        "APT::Sandbox::User": "root",
    }
    file = scratch / "apt.conf"
    file.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    return file


def give_libraries(directory: Path, program: Path) -> None:
    """Let a program load the libraries that were unpacked with it, also through each other.

    So it runs among the machine's own files.
    """
    (loader,) = (directory / "usr/lib64").glob("ld-linux-*")
    libraries = loader.resolve().parent
    settings = ("--set-interpreter", loader, "--force-rpath", "--set-rpath", libraries)
    run(("patchelf", *settings, program), os.environ)
