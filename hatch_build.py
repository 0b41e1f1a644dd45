"""Build the native packer along with the package, where there is a C compiler.

It is optional: without a compiler, nixdock packs in Python. With NIXDOCK_BUILD_NATIVE=require, a
build without it fails; with `skip`, it is not built.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

SOURCES = ("trees.c", "sha256.c")
LIBRARY = "nixdock/native/packer.so"
FLAGS = ("-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=default", "-Wall", "-Wextra")


class NativePackerHook(BuildHookInterface):
    """Compile the library into the package's folder, and say that the wheel is for this system."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 (hatch's)
        """Build the library for a wheel, editable or not."""
        wanted = os.environ.get("NIXDOCK_BUILD_NATIVE", "")
        if self.target_name != "wheel" or wanted == "skip":
            return
        problem = compile_library(Path(self.root), Path(self.root, LIBRARY))
        if problem is None:
            build_data["artifacts"].append(LIBRARY)
            build_data["pure_python"] = False
            platforms = (tag.platform for tag in sys_tags())
            platform = next(each for each in platforms if "linux" not in each[1:])
            build_data["tag"] = f"py3-none-{platform}"
        elif wanted == "require":
            raise SystemExit(f"error: can't build the native packer: {problem}")
        else:
            self.app.display_warning(f"the native packer is not built: {problem}")


def compile_library(root: Path, library: Path, *flags: str) -> str | None:
    """Compile the library; return None, or what went wrong."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    sources = [str(root / "nixdock" / "native" / name) for name in SOURCES]
    try:
        # Another process may have the old library loaded, or be about to load it.
        with tempfile.TemporaryDirectory(dir=library.parent) as directory:
            built = Path(directory, library.name)
            command = [*compiler, *FLAGS, *flags, *sources, "-o", str(built)]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode != 0:
                return f"{shlex.join(command)}: {done.stderr.strip()}"
            built.replace(library)
    except OSError as error:
        # There is no compiler, or the sources can't be written to.
        return f"{error.filename or compiler[0]}: {error.strerror}"
    return None


if __name__ == "__main__":
    here = Path(__file__).parent
    sys.exit(compile_library(here, here / LIBRARY))
