"""Turn a Debian package or a Python wheel into a store path.

Runs in the build sandbox on the host's interpreter, before the set has one of
its own. Its input is the environment of the derivation.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

SITE = "lib/python3/dist-packages"
COMPILE = ("-q", "-q", "--invalidation-mode", "unchecked-hash")
PLACES = {"scripts": "bin", "data": ".", "purelib": SITE, "platlib": SITE}
LOADER = "lib/ld-linux-x86-64.so.2"

given = dict(os.environ)
out = Path(given["out"])
direct = [Path(path) for path in given["deps"].split()]


def closure(roots: Iterable[Path]) -> list[Path]:
    """Return the roots, then what they depend on, nearest first."""
    found = list(dict.fromkeys(roots))
    for path in found:
        listed = path / "nix-support/propagated"
        if listed.is_file():
            found += [p for p in map(Path, listed.read_text().split()) if p not in found]
    return found


everything = closure(direct)
python = next((p for p in direct if (p / "bin/python3").exists()), None)


def relocate(name: str) -> str:
    """Map a path of Debian's to one below an output."""
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", ".")]
    if parts[:1] == ["usr"]:
        del parts[0]
    if parts[:1] in (["sbin"], ["games"]):
        parts[0] = "bin"
    if parts[:1] == ["lib64"]:
        parts[0] = "lib"
    if parts[:2] == ["lib", "x86_64-linux-gnu"]:
        del parts[1]
    return "/".join(parts)


def unpack_deb(archive: str) -> None:
    """Unpack a Debian package, links last, when what they may point at is there."""
    links: dict[str, str] = {}
    command = ["/usr/bin/dpkg-deb", "--fsys-tarfile", archive]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as members,
    ):
        for member in members:
            name = relocate(member.name)
            target = out / name
            if member.isdir():
                continue
            if member.issym():
                place = PurePosixPath("/") / PurePosixPath(member.name).parent
                links[name] = relocate(os.path.normpath(place / member.linkname))
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if member.islnk():
                os.link(out / relocate(member.linkname), target)
                continue
            content = members.extractfile(member)
            if content is None:
                raise SystemExit(f"{member.name}: no regular file")
            with target.open("wb") as stream:
                shutil.copyfileobj(content, stream, 1 << 20)
            target.chmod(0o755 if member.mode & 0o111 else 0o644)
    if process.returncode:
        raise SystemExit(f"dpkg-deb failed on {archive}")
    make_links(links)


def make_links(links: dict[str, str]) -> None:
    """Create the links that lead somewhere, in this output or a dependency's."""
    pending = dict(sorted(links.items()))
    while pending:
        left: dict[str, str] = {}
        for name, target in pending.items():
            link = out / name
            owner = next((p for p in (out, *everything) if os.path.lexists(p / target)), None)
            if name == target or os.path.lexists(link):
                continue
            if owner is None:
                left[name] = target
                continue
            link.parent.mkdir(parents=True, exist_ok=True)
            whither = owner / target
            link.symlink_to(os.path.relpath(whither, link.parent) if owner == out else whither)
        if len(left) == len(pending):
            # Alternatives, which nothing sets up here, and optional packages.
            print("dangling:", *left)
            return
        pending = left


def unpack_wheel(archive: str) -> None:
    """Install a wheel, with a script for each of its entry points."""
    site = out / SITE
    site.mkdir(parents=True)
    with zipfile.ZipFile(archive) as members:
        for member in members.infolist():
            extracted = Path(members.extract(member, site))
            if extracted.is_file() and (member.external_attr >> 16) & 0o111:
                extracted.chmod(0o755)
    for data in site.glob("*.data"):
        for kind, place in PLACES.items():
            if (data / kind).is_dir():
                shutil.copytree(data / kind, out / place, dirs_exist_ok=True)
        shutil.rmtree(data)
    for listing in site.glob("*.dist-info/entry_points.txt"):
        write_scripts(listing)


def write_scripts(listing: Path) -> None:
    """Write the console scripts, each able to find its own dependencies."""
    if python is None:
        raise SystemExit(f"{listing}: no interpreter among the dependencies")
    entries = configparser.ConfigParser(delimiters=("=",))
    entries.optionxform = str  # type: ignore[assignment,method-assign]
    entries.read(listing)
    if not entries.has_section("console_scripts"):
        return
    sites = [str(p / SITE) for p in (out, *everything) if p != python and (p / SITE).is_dir()]
    (out / "bin").mkdir(exist_ok=True)
    for name, entry in entries["console_scripts"].items():
        module, function = entry.partition("[")[0].strip().split(":")
        script = out / "bin" / name
        script.write_text(
            f"#!{python}/bin/python3\nimport site, sys\n"
            f"for path in {sites!r}:\n    site.addsitedir(path)\n"
            f"from {module} import {function.split('.')[0]}\n"
            f"sys.exit({function}())\n"
        )
        script.chmod(0o755)


class Elf:
    """Read what the dynamic section of an x86-64 ELF file asks for."""

    def __init__(self, data: bytes) -> None:
        self.interpreted = False
        self.needed: list[str] = []
        self.runpath: list[str] = []
        kind, machine = struct.unpack_from("<HH", data, 16)
        # Objects and core files have nothing to patch, other machines nothing to run.
        if data[4:6] != b"\x02\x01" or machine != 62 or kind not in (2, 3):
            return
        (offset,) = struct.unpack_from("<Q", data, 32)
        size, count = struct.unpack_from("<HH", data, 54)
        headers = [
            struct.unpack_from("<IIQQQQQQ", data, offset + size * number) for number in range(count)
        ]
        self.interpreted = any(header[0] == 3 for header in headers)
        loads = [header for header in headers if header[0] == 1]
        dynamic = next((header for header in headers if header[0] == 2), None)
        if dynamic is None:
            return
        entries = []
        for at in range(dynamic[2], dynamic[2] + dynamic[5], 16):
            tag, value = struct.unpack_from("<QQ", data, at)
            if tag == 0:
                break
            entries.append((tag, value))
        address = next((value for tag, value in entries if tag == 5), 0)
        strings = next(
            (h[2] + address - h[3] for h in loads if h[3] <= address < h[3] + h[5]), None
        )
        if strings is None:
            return

        def string(at: int) -> str:
            return data[strings + at : data.index(b"\0", strings + at)].decode()

        self.needed = [string(value) for tag, value in entries if tag == 1]
        self.runpath = [
            entry for tag, value in entries if tag in (15, 29) for entry in string(value).split(":")
        ]


def patch_elf(path: Path, elf: Elf, own: dict[str, list[Path]]) -> None:
    """Let an ELF file load what it needs from the store."""
    arguments: list[str] = []
    if elf.interpreted:
        loader = next((p / LOADER for p in everything if (p / LOADER).exists()), None)
        if loader is None:
            raise SystemExit(f"{path} needs a loader, and no dependency has one")
        arguments += ["--set-interpreter", str(loader)]
    runpath = [entry for entry in elf.runpath if entry.startswith("$ORIGIN")]
    for needed in elf.needed:
        # What the file finds beside itself it must go on finding there.
        if any((path.parent / e.replace("$ORIGIN", ".") / needed).exists() for e in runpath):
            continue
        places = [
            *(out / relocate(e) for e in elf.runpath if e.startswith("/")),
            *(place for place in own.get(needed, []) if place in (out / "lib", path.parent)),
            *own.get(needed, []),
            *(dep / "lib" for dep in everything),
            *(dep / relocate(e) for dep in everything for e in elf.runpath if e.startswith("/")),
        ]
        found = next((place for place in places if (place / needed).exists()), None)
        if found is None:
            print(f"unresolved: {needed} in {path.relative_to(out)}")
        elif str(found) not in runpath:
            runpath.append(str(found))
    if runpath != elf.runpath:
        arguments += ["--set-rpath", ":".join(runpath)]
    if arguments:
        mode = path.stat().st_mode
        path.chmod(0o755)
        subprocess.run([f"{given['patchelf']}/bin/patchelf", *arguments, str(path)], check=True)
        path.chmod(mode)


def patch_shebang(path: Path, data: bytes) -> None:
    """Let a script start the closure's own interpreter."""
    first, newline, rest = data.partition(b"\n")
    match = re.match(rb"#!\s*(?:/usr/bin/env\s+(?:-S\s+)?)?(\S+)(.*)$", first)
    if match is None:
        return
    name = match[1].decode(errors="replace").rpartition("/")[2]
    owner = next((p for p in (out, *everything) if (p / "bin" / name).exists()), None)
    if owner is None:
        return
    mode = path.stat().st_mode
    path.chmod(0o755)
    path.write_bytes(b"#!" + os.fsencode(owner / "bin" / name) + match[2] + newline + rest)
    path.chmod(mode)


def patch_all() -> None:
    """Patch every file of the output."""
    elves: list[tuple[Path, Elf]] = []
    own: dict[str, list[Path]] = {}
    for directory, _, names in os.walk(out):
        for name in sorted(names):
            path = Path(directory, name)
            if ".so" in name:
                own.setdefault(name, []).append(path.parent)
            if path.is_symlink() or not path.is_file():
                continue
            with path.open("rb") as stream:
                magic = stream.read(4)
                if magic == b"\x7fELF":
                    elf = Elf(magic + stream.read())
                    if elf.interpreted or elf.needed:
                        elves.append((path, elf))
                elif magic.startswith(b"#!") and os.access(path, os.X_OK):
                    patch_shebang(path, magic + stream.read())
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda item: patch_elf(item[0], item[1], own), elves))


def compile_modules() -> None:
    """Compile a wheel's modules, which in the store could not be done on first import."""
    if python is not None:
        # Some packages carry modules that are not meant to compile.
        subprocess.run(
            [str(python / "bin/python3"), "-m", "compileall", *COMPILE, str(out / SITE)],
            env={"PYTHONHASHSEED": "0"},
            stdout=subprocess.DEVNULL,
            check=False,
        )


def substitute(edits: list[dict[str, str]]) -> None:
    """Apply the set's own edits."""
    for edit in edits:
        path = out / edit["file"]
        content = path.read_text()
        if edit["old"] not in content:
            raise SystemExit(f"{edit['file']}: no {edit['old']} to replace")
        mode = path.stat().st_mode
        path.chmod(0o755)
        path.write_text(content.replace(edit["old"], edit["new"].replace("@out@", str(out))))
        path.chmod(mode)


def link(text: str) -> None:
    """Make the links Debian leaves to alternatives, one `NAME TARGET` a line."""
    for line in text.splitlines():
        name, target = line.split(" ")
        path = out / name
        if path.is_symlink():
            path.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


def main() -> None:
    """Build the output."""
    os.umask(0o022)
    out.mkdir()
    source = given["src"]
    if source.endswith(".whl"):
        unpack_wheel(source)
    else:
        unpack_deb(source)
    substitute(json.loads(given.get("edits", "[]")))
    link(given.get("links", ""))
    if not given.get("verbatim"):
        patch_all()
    if source.endswith(".whl"):
        compile_modules()
    support = out / "nix-support"
    support.mkdir(exist_ok=True)
    (support / "propagated").write_text("".join(f"{path}\n" for path in direct))


main()
