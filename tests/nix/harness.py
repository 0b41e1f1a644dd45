"""Run Nix with the settings the package set needs, and programs on the store alone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SETTINGS = {
    "build-users-group": "",
    "substituters": "",
    "sandbox": "true",
    "sandbox-fallback": "false",
    # Debian's default is its own shell.
    "sandbox-paths": "",
    # For the derivations that ask for it by `__impureHostDeps`, and no other.
    "allowed-impure-host-deps": "/usr /bin /lib /lib64",
    "experimental-features": "nix-command flakes",
    "fsync-metadata": "false",
    "max-jobs": "2",
    "warn-dirty": "false",
}


# What `newer.py` sets for a Nix that is not the machine's.
KEPT = ("NIX_CACHE_HOME", "NIX_CONF_DIR", "NIX_USER_CONF_FILES")


class NixError(Exception):
    """Carry what a failed command wrote to its standard error."""


def run(args: Sequence[str | Path], env: Mapping[str, str], cwd: Path | None = None) -> str:
    """Run a command and return its standard output, or raise with its standard error."""
    return run_with_log(args, env, cwd)[0]


def run_with_log(
    args: Sequence[str | Path], env: Mapping[str, str], cwd: Path | None = None
) -> tuple[str, str]:
    """Run a command and return its standard output and error, or raise with the error."""
    command = [str(arg) for arg in args]
    done = subprocess.run(command, env=env, cwd=cwd, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        shown = " ".join(command)
        raise NixError(f"{shown[:400]}\nexited with {done.returncode}:\n{done.stderr[-8000:]}")
    return done.stdout, done.stderr


@dataclass(frozen=True)
class Nix:
    """Run Nix on the machine's store, with the settings the package set needs."""

    pkgs: Path

    @property
    def env(self) -> dict[str, str]:
        """Return the environment every command gets."""
        config = "".join(f"{name} = {value}\n" for name, value in SETTINGS.items())
        kept = {k: v for k, v in os.environ.items() if not k.startswith("NIX_") or k in KEPT}
        return kept | {"NIX_CONFIG": config, "NIX_PATH": f"nixpkgs={self.pkgs}"}

    def run(self, *args: str | Path, cwd: Path | None = None) -> str:
        """Run any command in that environment."""
        return run(args, self.env, cwd)

    def log(self, *args: str | Path) -> str:
        """Run any command in that environment, and return what it writes to standard error."""
        return run_with_log(args, self.env)[1]

    def nix(self, *args: str | Path, cwd: Path | None = None) -> str:
        """Run `nix`."""
        return self.run("nix", *args, cwd=cwd)

    def store(self, *args: str | Path) -> str:
        """Run `nix-store`."""
        return self.run("nix-store", *args)

    def instantiate(self, expression: str) -> Path:
        """Return the derivation an expression comes to, `pkgs` being the set."""
        return Path(self.run("nix-instantiate", "-E", self._with_pkgs(expression)).split()[0])

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, `pkgs` being the set."""
        return json.loads(
            self.run(
                *("nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode"),
                *("-E", self._with_pkgs(expression)),
            )
        )

    def warnings(self, expression: str) -> str:
        """Return what Nix warns of while it evaluates an expression, `pkgs` being the set."""
        options = ("--eval", "--strict", "--read-write-mode", "-E", self._with_pkgs(expression))
        return self.log("nix-instantiate", *options)

    def build(self, expression: str, *options: str) -> Path:
        """Build an expression, `pkgs` being the set, and return its first output."""
        out = self.run("nix-build", "--no-out-link", *options, "-E", self._with_pkgs(expression))
        return Path(out.split()[0])

    def closure(self, *paths: Path) -> list[Path]:
        """Return the closure of store paths."""
        return [Path(line) for line in self.store("--query", "--requisites", *paths).split()]

    def _with_pkgs(self, expression: str) -> str:
        return f"let pkgs = import {self.pkgs} {{ }}; in {expression}"


@dataclass(frozen=True)
class BareRoot:
    """Run programs in a root directory that has the store and nothing else."""

    path: Path

    def run(self, *args: str | Path, env: Mapping[str, str] | None = None) -> str:
        """Run a program of the store and return its standard output."""
        script = (
            'mount --bind /nix/store "$0/nix/store" && '
            'mount -o remount,ro,bind "$0/nix/store" && exec chroot "$0" "$@"'
        )
        path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/"}
        return run(
            ("unshare", "--mount", "sh", "-c", script, self.path, *args), path | dict(env or {})
        )
