"""`python -m manual.install SHARE`: write the man pages and completions below a directory."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from manual.commands import PROGRAM
from manual.completions import COMPLETION_FILES, completion_script
from manual.man_pages import man_pages

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Write the files below the only argument, and return the exit status."""
    if len(arguments) != 1:
        print("usage: python -m manual.install SHARE", file=sys.stderr)
        return 2
    for name, text in _files():
        target = Path(arguments[0], name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return 0


def _files() -> Iterator[tuple[str, str]]:
    for name, page in man_pages(version(PROGRAM)).items():
        yield f"man/man1/{name}", page
    for shell, name in COMPLETION_FILES.items():
        yield name, completion_script(shell)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
