"""Build a project by its own backend, and install the wheel that comes of it."""

from __future__ import annotations

import compileall
import configparser
import importlib
import py_compile
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path

SITE = "lib/python3/dist-packages"
PLACES = {"scripts": "bin", "data": ".", "purelib": SITE, "platlib": SITE}


def build(target: str) -> None:
    """Call the backend that pyproject.toml names."""
    system = tomllib.loads(Path("pyproject.toml").read_text())["build-system"]
    sys.path[:0] = [str(Path(path).resolve()) for path in system.get("backend-path", [])]
    module, _, name = system["build-backend"].partition(":")
    backend = importlib.import_module(module)
    for part in name.split(".") if name else []:
        backend = getattr(backend, part)
    Path(target).mkdir(exist_ok=True)
    print(backend.build_wheel(str(Path(target).resolve())))


def install(wheel: str, out: str, python: str, *requires: str) -> None:
    """Unpack the wheel, with scripts that find it and what it depends on."""
    site = Path(out, SITE)
    site.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as members:
        members.extractall(site)
    for data in site.glob("*.data"):
        for kind, place in PLACES.items():
            if (data / kind).is_dir():
                shutil.copytree(data / kind, Path(out, place), dirs_exist_ok=True)
        shutil.rmtree(data)
    found = list(dict.fromkeys(requires))
    for path in found:
        listed = Path(path, "nix-support/propagated")
        if listed.is_file():
            found += [p for p in listed.read_text().split() if p not in found]
    sites = [
        f"{path}/{SITE}"
        for path in (out, *found)
        if Path(path, SITE).is_dir() and not Path(path, "bin/python3").exists()
    ]
    for listing in site.glob("*.dist-info/entry_points.txt"):
        entries = configparser.ConfigParser(delimiters=("=",))
        entries.optionxform = str  # type: ignore[assignment,method-assign]
        entries.read(listing)
        if entries.has_section("console_scripts"):
            for name, entry in entries["console_scripts"].items():
                write_script(Path(out, "bin", name), entry, python, sites)
    compileall.compile_dir(
        site, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    support = Path(out, "nix-support")
    support.mkdir(exist_ok=True)
    propagated = (Path(python).parent.parent, *requires)
    (support / "propagated").write_text("".join(f"{path}\n" for path in propagated))


def write_script(script: Path, entry: str, python: str, sites: list[str]) -> None:
    """Write one console script."""
    module, function = entry.partition("[")[0].strip().split(":")
    script.parent.mkdir(exist_ok=True)
    script.write_text(
        f"#!{python}\nimport site, sys\n"
        f"for path in {sites!r}:\n    site.addsitedir(path)\n"
        f"from {module} import {function.split('.')[0]}\n"
        f"sys.exit({function}())\n"
    )
    script.chmod(0o755)


if __name__ == "__main__":
    if sys.argv[1] == "build":
        build(*sys.argv[2:])
    else:
        install(*sys.argv[2:])
