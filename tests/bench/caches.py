"""The figures of images from a binary cache on loopback, of which nothing is local."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nixdock.coding.libzstd import zstd
from nixdock.nix.hashes import Hash

from ..runtime.registry import local_registry
from .closure import Closure
from .figure import Figure, nixdock, ratio_figure, seconds_figure
from .measure import Ratio, Series, interleaved, run

__all__ = ["cache_figures"]

_HERE = Path(__file__).parent
_CHUNK = 1 << 20
# The closure of a large image, and a cache that is far away.
_DISTANT_PATHS = 1000
_REFERENCES = 5
_LATENCY = 0.02


def cache_figures(closure: Closure, directory: Path, repeat: int) -> Iterator[Figure]:
    """Measure a dry run, and the push of an unchanged image, with a cache of zstd."""
    cache = directory / "binary-cache"
    roots = _write_cache(closure, cache)
    spec = directory / "remote.json"
    with _served(cache) as (url, log):
        _write_spec(spec, roots, url)
        yield from _dry_run(spec, cache, directory, repeat)
        if shutil.which("docker-registry") is None:
            yield Figure("push without the closure", "not measured: docker-registry missing")
            return
        with local_registry() as registry:
            yield _unchanged(spec, f"{registry.address}/remote:latest", directory, log, repeat)
    yield _distant(roots, cache, directory, repeat)
    shutil.rmtree(cache)
    yield _distant_closure(directory, repeat)


def _write_spec(spec: Path, roots: Sequence[str], url: str) -> None:
    document = {
        "version": 1,
        "name": "bench",
        "closure": {"roots": roots, "stores": [f"{url}?trusted=1"]},
        "store": {"root": str(spec.parent / "nothing")},
    }
    spec.write_text(json.dumps(document))


def _dry_run_of(spec: Path) -> list[str]:
    command = nixdock("build", str(spec), "--dry-run", "--no-cache", "--format", "docker-archive")
    return _at_home(spec.parent, command)


def _distant(roots: Sequence[str], cache: Path, directory: Path, repeat: int) -> Figure:
    """Compare a dry run from a cache that is far away with one from a cache that is not."""
    near, far = directory / "near.json", directory / "far.json"
    with _served(cache) as (near_url, _), _served(cache, _LATENCY) as (far_url, _):
        _write_spec(near, roots, near_url)
        _write_spec(far, roots, far_url)

        def measure(spec: Path) -> float:
            shutil.rmtree(directory / "home", ignore_errors=True)
            return run(_dry_run_of(spec)).seconds

        theirs, ours = interleaved(repeat, lambda: measure(far), lambda: measure(near))
    name = f"dry run of a cache, {_LATENCY * 1000:.0f} ms / 0 ms"
    return ratio_figure(name, Ratio(theirs, ours), most=1.5)


def _dry_run(spec: Path, cache: Path, directory: Path, repeat: int) -> Iterator[Figure]:
    build = _dry_run_of(spec)
    nars = sorted(map(str, (cache / "nar").iterdir()))
    alone = [sys.executable, "-P", str(_HERE / "nar_alone.py"), *nars]
    cpu: dict[str, list[float]] = {"ours": [], "theirs": []}

    def measure(whose: str, command: Sequence[str]) -> float:
        # Nothing is known of the cache.
        shutil.rmtree(directory / "home", ignore_errors=True)
        done = run(command)
        cpu[whose].append(done.cpu_seconds)
        return done.seconds

    ours, theirs = interleaved(
        repeat, lambda: measure("ours", build), lambda: measure("theirs", alone)
    )
    name = "dry run of a cache / zstd and hashes"
    yield ratio_figure(name, Ratio(ours, theirs), most=1.5)
    # On a machine that has other work to do, this one tells more.
    ratio = Ratio(Series(tuple(cpu["ours"])), Series(tuple(cpu["theirs"])))
    yield ratio_figure("the same, CPU time", ratio)


def _distant_closure(directory: Path, repeat: int) -> Figure:
    """Ask for the narinfos of a closure, of which only the root is known."""
    cache = directory / "distant-cache"
    cache.mkdir()
    (cache / "nix-cache-info").write_text("StoreDir: /nix/store\n")
    digest = Hash("sha256", bytes(32)).base32
    names = [f"{number:0>32}-package-{number}" for number in range(_DISTANT_PATHS)]
    for number, name in enumerate(names):
        first = number * _REFERENCES + 1
        references = " ".join(names[first : first + _REFERENCES])
        (cache / f"{name[:32]}.narinfo").write_text(
            f"StorePath: /nix/store/{name}\nURL: nar/x\nCompression: none\nNarSize: 120\n"
            f"NarHash: sha256:{digest}\nReferences: {references}\n"
        )
    with _served(cache, _LATENCY) as (url, _):
        root = f"/nix/store/{names[0]}"
        command = _at_home(directory, nixdock("closure", root, "--store", f"{url}?trusted=1"))

        def closure() -> float:
            shutil.rmtree(directory / "home", ignore_errors=True)
            done = run(command)
            if len(done.output.splitlines()) != _DISTANT_PATHS:
                raise SystemExit("the closure is not whole")
            return done.seconds

        (times,) = interleaved(repeat, closure)
    shutil.rmtree(cache)
    name = f"closure, {_DISTANT_PATHS} paths at {_LATENCY * 1000:.0f} ms"
    return seconds_figure(name, times, str(times), most=4.0)


def _unchanged(spec: Path, target: str, directory: Path, log: Path, repeat: int) -> Figure:
    command = _at_home(directory, nixdock("push", "-q", "--no-cache", str(spec), target))
    run(command, keep=False)
    counts = set()

    def push() -> float:
        # Nothing is known of the cache, either.
        shutil.rmtree(directory / "home", ignore_errors=True)
        before = len(log.read_text().splitlines())
        seconds = run(command, keep=False).seconds
        names = log.read_text().splitlines()[before:]
        if any(name.startswith("/nar/") for name in names):
            raise SystemExit("a NAR was fetched for an unchanged image")
        counts.add(len(names))
        return seconds

    (times,) = interleaved(3 * repeat, push)
    (count,) = counts
    measured = f"{times.median:.3f} s (best {times.best:.3f}), {count} requests to the cache"
    return seconds_figure("push, unchanged, without the closure", times, measured, most=1.0)


def _at_home(directory: Path, command: Sequence[str]) -> list[str]:
    """Return the command with a cache of its own, not that of whoever measures."""
    return ["env", f"XDG_CACHE_HOME={directory / 'home'}", *command]


def _write_cache(closure: Closure, cache: Path) -> list[str]:
    """Write a cache of the closure, and return its roots."""
    graph = closure.infos
    (cache / "nar").mkdir(parents=True)
    (cache / "nix-cache-info").write_text("StoreDir: /nix/store\n")
    for info in graph:
        name = info["path"].rpartition("/")[2]
        url = f"nar/{name[:32]}.nar.zst"
        digest, size = _write_nar(Path(f"{closure.root}{info['path']}"), cache / url)
        references = " ".join(path.rpartition("/")[2] for path in info["references"])
        (cache / f"{name[:32]}.narinfo").write_text(
            f"StorePath: {info['path']}\nURL: {url}\nCompression: zstd\nNarHash: sha256:{digest}\n"
            f"NarSize: {size}\nReferences: {references}\n"
        )
    referred = {path for info in graph for path in info["references"] if path != info["path"]}
    return [info["path"] for info in graph if info["path"] not in referred]


def _write_nar(tree: Path, file: Path) -> tuple[str, int]:
    """Write the NAR of a tree, compressed, and return its hash and its size."""
    digest = hashlib.sha256()
    size = 0
    with zstd.open(file, "wb", level=3) as out:

        def write(data: bytes) -> None:
            nonlocal size
            digest.update(data)
            size += len(data)
            out.write(data)

        _strings(write, "nix-archive-1")
        _write_node(write, tree)
    return Hash("sha256", digest.digest()).base32, size


def _write_node(write: Callable[[bytes], None], path: Path) -> None:
    info = path.lstat()
    _strings(write, "(", "type")
    if stat.S_ISLNK(info.st_mode):
        _strings(write, "symlink", "target", os.readlink(path))
    elif stat.S_ISREG(info.st_mode):
        executable = ("executable", "") if info.st_mode & 0o100 else ()
        _strings(write, "regular", *executable, "contents")
        write(info.st_size.to_bytes(8, "little"))
        with path.open("rb") as stream:
            while piece := stream.read(_CHUNK):
                write(piece)
        write(bytes(-info.st_size % 8))
    else:
        _strings(write, "directory")
        for name in sorted(os.listdir(path)):
            _strings(write, "entry", "(", "name", name, "node")
            _write_node(write, path / name)
            _strings(write, ")")
    _strings(write, ")")


def _strings(write: Callable[[bytes], None], *texts: str) -> None:
    for text in texts:
        data = text.encode()
        write(len(data).to_bytes(8, "little") + data + bytes(-len(data) % 8))


@contextmanager
def _served(directory: Path, delay: float = 0) -> Iterator[tuple[str, Path]]:
    """Serve a directory in another process; yield its URL and the file with what was asked for.

    Each answer comes after `delay` seconds.
    """
    log = directory.parent / "requests"
    log.touch()
    program = [sys.executable, "-P", str(_HERE / "file_server.py")]
    command = [*program, str(directory), str(log), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), log
        finally:
            process.terminate()
