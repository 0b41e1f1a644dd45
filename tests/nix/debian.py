"""Resolve, download and lock the Debian packages the test package set is made of."""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import wheels

BASE = (
    "bash",
    "busybox-static",
    "ca-certificates",
    "coreutils",
    "curl",
    "diffutils",
    "fakeroot",
    "file",
    "findutils",
    "gawk",
    "grep",
    "gzip",
    "hello",
    "jq",
    "make",
    "nginx",
    "nix-bin",
    "openssl",
    "passwd",
    "patch",
    "python3",
    "redis-server",
    "sed",
    "skopeo",
    "sqlite3",
    "tar",
    "tini",
    "xz-utils",
    "zstd",
)

SCIENCE = (
    "python3-h5py",
    "python3-matplotlib",
    "python3-networkx",
    "python3-numexpr",
    "python3-numpy",
    "python3-pandas",
    "python3-scipy",
    "python3-seaborn",
    "python3-skimage",
    "python3-sklearn",
    "python3-statsmodels",
    "python3-sympy",
    "python3-tk",
)

# Only maintainer scripts need these, and those never run here; or programs for what no test does,
# such as checking signatures. What is asked for by its own name is there all the same.
EXCLUDED = frozenset(
    {
        "adduser",
        "base-files",
        "cdebconf",
        "container-network-stack",
        "debconf",
        "debconf-2.0",
        "debianutils",
        "dmsetup",
        "dpkg",
        "gnupg",
        "init-system-helpers",
        "install-info",
        "iproute2",
        "libdbd-sqlite3-perl",
        "libdbi-perl",
        "libpam-modules",
        "libpam-runtime",
        "libwww-curl-perl",
        "lsb-base",
        "passwd",
        "perl",
        "perl-base",
        "procps",
        "sensible-utils",
        "sysvinit-utils",
        "tzdata-legacy",
        "ucf",
        "usr-is-merged",
    }
)

# Debian leaves what an Essential package provides unsaid; in a closure that
# brings its own shell it has to be said.
UNDECLARED: Mapping[str, tuple[str, ...]] = {
    "fakeroot": ("bash", "coreutils", "sed", "util-linux"),
    "grep": ("bash",),
    "gzip": ("bash",),
    "xz-utils": ("bash",),
    "zstd": ("bash",),
}

# Within a dependency cycle these keep no edge to the rest, in this order: what
# everything links against has to come first.
BOTTOM = ("gcc-12-base", "libc6", "libgcc-s1", "libstdc++6")


class ResolveError(Exception):
    """Report a package, or a tool, that is not there."""


@dataclass(frozen=True)
class Package:
    """Describe one Debian package of the closure."""

    name: str
    version: str
    sha256: str
    size: int
    alternatives: tuple[tuple[str, ...], ...] = ()
    provides: tuple[str, ...] = ()
    depends: tuple[str, ...] = field(default=())

    @property
    def file_name(self) -> str:
        """Return a name the Nix store accepts."""
        return re.sub(r"[^A-Za-z0-9+._?=-]", "_", f"{self.name}_{self.version}.deb")


def default_cache() -> Path:
    """Return the directory downloads and the lock are kept in."""
    if given := os.environ.get("NIXDOCK_TEST_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "nixdock-tests"


def run(args: Sequence[str], cwd: Path | None = None) -> str:
    """Run a command and return what it printed, or raise with what it complained of."""
    if shutil.which(args[0]) is None:
        raise ResolveError(
            f"{args[0]} is missing: install it (apt-get install {_provider(args[0])})"
        )
    done = subprocess.run(args, cwd=cwd, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise ResolveError(f"{' '.join(args[:3])} … failed ({done.returncode}):\n{done.stderr}")
    return done.stdout


def _provider(tool: str) -> str:
    return {"nix-store": "nix-bin", "nix-build": "nix-bin", "apt-cache": "apt"}.get(tool, tool)


def _names(value: str) -> tuple[str, ...]:
    return tuple(re.split(r"[\s(\[<:]", entry.strip(), maxsplit=1)[0] for entry in value.split("|"))


def parse_index(text: str) -> dict[str, Package]:
    """Read the stanzas of a Packages index."""
    index: dict[str, Package] = {}
    for stanza in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, re.MULTILINE))
        if "Filename" not in fields or "SHA256" not in fields:
            continue
        depends = ", ".join(fields[key] for key in ("Pre-Depends", "Depends") if key in fields)
        provides = fields.get("Provides", "")
        index[fields["Package"]] = Package(
            name=fields["Package"],
            version=fields["Version"],
            sha256=fields["SHA256"],
            size=int(fields["Size"]),
            alternatives=tuple(_names(group) for group in depends.split(",") if group.strip()),
            provides=tuple(_names(entry)[0] for entry in provides.split(",") if entry.strip()),
        )
    return index


def resolve(roots: Iterable[str], index: Mapping[str, Package]) -> dict[str, Package]:
    """Return the dependency closure of the roots, cycles broken."""
    providers: dict[str, list[str]] = {}
    for package in index.values():
        for virtual in package.provides:
            providers.setdefault(virtual, []).append(package.name)

    def choose(names: tuple[str, ...], wanted_by: str) -> str | None:
        if EXCLUDED.intersection(names):
            return None
        for name in names:
            if name in index:
                return name
        for name in names:
            if name in providers:
                return min(providers[name])
        raise ResolveError(
            f"{wanted_by}: nothing provides {' | '.join(names)}; run apt-get update first"
        )

    graph: dict[str, set[str]] = {}
    pending = sorted(set(roots))
    while pending:
        name = pending.pop()
        if name in graph:
            continue
        if name not in index:
            raise ResolveError(f"no package {name} in apt's lists; run apt-get update first")
        found = [choose(names, name) for names in index[name].alternatives]
        graph[name] = {dep for dep in (*found, *UNDECLARED.get(name, ())) if dep} - {name}
        pending.extend(sorted(graph[name]))
    acyclic = break_cycles(graph)
    return {
        name: replace(index[name], depends=tuple(sorted(acyclic[name]))) for name in sorted(graph)
    }


def break_cycles(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Drop from every cycle the edges that go up a fixed order of its members."""
    result = {name: set(deps) for name, deps in graph.items()}
    for component in components(graph):
        order = sorted(
            component, key=lambda n: (BOTTOM.index(n) if n in BOTTOM else len(BOTTOM), n)
        )
        for position, name in enumerate(order):
            result[name] -= set(order[position:])
    return result


def components(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components."""
    counter = 0
    low: dict[str, int] = {}
    number: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []
    for root in sorted(graph):
        if root in number:
            continue
        work: list[tuple[str, Iterator[str]]] = []

        def enter(name: str, work: list[tuple[str, Iterator[str]]] = work) -> None:
            nonlocal counter
            number[name] = low[name] = counter
            counter += 1
            stack.append(name)
            work.append((name, iter(sorted(graph[name]))))

        enter(root)
        while work:
            name, remaining = work[-1]
            for dep in remaining:
                if dep not in number:
                    enter(dep)
                    break
                if dep in stack:
                    low[name] = min(low[name], number[dep])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == number[name]:
                    cut = stack.index(name)
                    found.append(stack[cut:])
                    del stack[cut:]
    return found


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def download(packages: Iterable[Package], directory: Path) -> None:
    """Fetch the package files that are not there yet."""
    directory.mkdir(parents=True, exist_ok=True)
    missing = {
        package.sha256: package
        for package in packages
        if not _present(directory / package.file_name, package.size)
    }
    if not missing:
        return
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        wanted = [f"{package.name}={package.version}" for package in missing.values()]
        run(["apt-get", "-q", "download", *wanted], cwd=Path(scratch))
        # Apt names the files as it likes; their content is what tells them apart.
        for path in sorted(Path(scratch).glob("*.deb")):
            package = missing.pop(sha256_of(path), None)
            if package is not None:
                path.replace(directory / package.file_name)
    if missing:
        names = ", ".join(sorted(package.name for package in missing.values()))
        raise ResolveError(f"apt did not deliver {names}")


def _present(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that parallel test workers prepare the cache once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def prepare(cache: Path | None = None, roots: Sequence[str] = (*BASE, *SCIENCE)) -> Path:
    """Bring the cache up to date and return the directory to import the set from."""
    cache = (cache or default_cache()).absolute()
    with locked(cache / "lock"):
        request = {
            # What resolves them decides what comes of the names.
            "resolver": [sha256_of(Path(path)) for path in (__file__, wheels.__file__)],
            "debs": sorted(roots),
            "science": sorted(SCIENCE),
            "wheels": sorted(wheels.WHEELS),
        }
        target = cache / "nixpkgs"
        lock = _read_lock(target / "lock.json")
        if lock is None or lock["request"] != request or not _complete(lock, cache):
            lock = {"request": request, **_resolve_all(cache, roots)}
        _register(lock, cache)
        _publish(target, lock)
    return target


def _resolve_all(cache: Path, roots: Sequence[str]) -> dict[str, Any]:
    packages = resolve(roots, parse_index(run(["apt-cache", "dumpavail"])))
    download(packages.values(), cache / "debs")
    return {
        "debs": [
            {
                "name": package.name,
                "version": package.version,
                "file": package.file_name,
                "size": package.size,
                "sha256": package.sha256,
                "depends": list(package.depends),
            }
            for package in packages.values()
        ],
        "wheels": wheels.fetch(cache / "wheels"),
    }


def _read_lock(path: Path) -> dict[str, Any] | None:
    try:
        lock = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return lock if isinstance(lock, dict) else None


def _entries(lock: Mapping[str, Any], cache: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for kind in ("debs", "wheels"):
        for entry in lock[kind]:
            yield cache / kind / entry["file"], entry


def _complete(lock: Mapping[str, Any], cache: Path) -> bool:
    return all(_present(path, entry["size"]) for path, entry in _entries(lock, cache))


def _register(lock: dict[str, Any], cache: Path) -> None:
    """Add the files to the store.

    Their derivations are fixed-output ones that never run: a sandbox without
    network could not fetch them, and pure evaluation could not read them.
    """
    entries = list(_entries(lock, cache))
    known = [entry.get("storePath", "") for _, entry in entries]
    if all(known) and set(known) <= _valid(known):
        return
    added = run(["nix-store", "--add-fixed", "sha256", *(str(path) for path, _ in entries)])
    for (_, entry), store_path in zip(entries, added.split(), strict=True):
        entry["storePath"] = store_path


def _valid(paths: Sequence[str]) -> set[str]:
    invalid = run(["nix-store", "--check-validity", "--print-invalid", *paths]).split()
    return set(paths) - set(invalid)


def _publish(target: Path, lock: Mapping[str, Any]) -> None:
    """Lay the set out beside its lock, where a flake may read both."""
    target.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).resolve().parent
    contents = {
        path.relative_to(source): path.read_bytes()
        for pattern in ("*.nix", "build/*")
        for path in sorted(source.glob(pattern))
        if path.is_file()
    }
    contents[Path("lock.json")] = json.dumps(lock, indent=1).encode()
    for name, data in contents.items():
        path = target / name
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch = path.with_name(path.name + ".new")
            scratch.write_bytes(data)
            scratch.replace(path)
    for path in sorted(target.rglob("*")):
        if path.is_file() and path.relative_to(target) not in contents:
            path.unlink()


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare the cache and print the directory to import the set from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="default: $NIXDOCK_TEST_CACHE")
    print(prepare(parser.parse_args(argv).cache))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
