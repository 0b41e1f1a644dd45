"""`python -m tests.bench`: measure nixdock's figures; print them with targets and the last ones."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .closure import Closure
from .figure import Figure
from .figures import MANY, Bench
from .record import last_values, save_figures, this_machine
from .science import can_build_science, science_closure
from .synthetic import Shape, synthetic_closure

_UNITS: Final = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table and return the exit status."""
    options = bench_parser().parse_args(arguments)
    closure, settings = closure_of(options)
    record = options.record or options.cache / "figures.json"
    last = last_values(record, settings)
    figures: list[Figure] = []
    print(f"{'figure':<36} {'measured':<46} {'target':<9} / last")
    with tempfile.TemporaryDirectory(prefix="nixdock-bench-") as directory:
        for figure in Bench(
            closure, Path(directory), options.repeat, options.cache, options.many
        ).figures():
            verdict = {None: "", True: "ok", False: "missed"}[figure.ok]
            ratio = _ratio(figure.value, last.get(figure.name))
            line = (
                f"{figure.name:<36} {figure.measured:<46} {figure.target:<9} {ratio:>6} {verdict}"
            )
            print(line.rstrip(), flush=True)
            figures.append(figure)
    save_figures(record, settings, this_machine(), figures)
    print(f"recorded in {record}, for the next run to compare with")
    return 1 if options.check and any(figure.ok is False for figure in figures) else 0


def closure_of(options: argparse.Namespace) -> tuple[Closure, dict[str, object]]:
    """Return what to measure, and what tells it from others in the record."""
    if options.graph is not None:
        return Closure(options.graph, options.root), {"graph": str(options.graph.resolve())}
    given = {name: getattr(options, name) for name in ("paths", "files", "size")}
    given = {name: value for name, value in given.items() if value is not None}
    if options.made_up or given or not can_build_science():
        shape = Shape(**given)
        settings: dict[str, object] = {"paths": shape.paths, "files": shape.files}
        return synthetic_closure(shape, options.cache), settings | {"bytes": shape.size}
    closure = science_closure(options.cache)
    infos = closure.infos
    digest = hashlib.sha256("".join(sorted(info["path"] for info in infos)).encode())
    return closure, {
        "science": digest.hexdigest()[:16],
        "paths": len(infos),
        "bytes": sum(info["narSize"] for info in infos),
    }


def bench_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--graph", type=Path, help="a closure that exists, as Nix exports it")
    parser.add_argument("--root", default="", help="the directory that holds its /nix/store")
    parser.add_argument(
        "--made-up",
        action="store_true",
        help="measure a made-up closure, as where Nix is missing; by default, it is that of"
        " Debian's Python with packages for science",
    )
    parser.add_argument("--paths", type=int, help="of a made-up closure")
    parser.add_argument("--files", type=int, help="of a made-up closure")
    parser.add_argument("--bytes", dest="size", type=_size, help="such as 3MB")
    parser.add_argument("--cache", type=Path, default=_cache(), help="where closures are kept")
    parser.add_argument(
        "--record",
        type=Path,
        help="the JSON file with the last figures (default: figures.json in the cache)",
    )
    parser.add_argument("--repeat", type=int, default=3, help="turns of the slowest measurements")
    parser.add_argument("--many", type=int, default=MANY, help="the most paths that are planned")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    return parser


def _ratio(value: float | None, last: float | None) -> str:
    return f"{value / last:.2f}x" if value is not None and last else ""


def _size(text: str) -> int:
    digits = text.rstrip("KMGB")
    if not digits.isdecimal() or text[len(digits) :] not in _UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 3MB")
    return int(digits) * _UNITS[text[len(digits) :]]


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nixdock-bench"


if __name__ == "__main__":
    sys.exit(main())
