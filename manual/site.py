"""`python -m manual.site PAGES`: write all pages of the site, from which its generator makes HTML.

They are those of `docs/`, those of the commands, which are made from the command line, and the
documents beside `docs/`.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from manual.reference import command_pages

__all__ = ["OUTSIDE", "main"]

ROOT: Final = Path(__file__).parents[1]
OUTSIDE: Final = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


def main(arguments: Sequence[str]) -> int:
    """Write the pages into the directory that is the only argument; return the exit status."""
    if len(arguments) != 1:
        print("usage: python -m manual.site PAGES", file=sys.stderr)
        return 2
    target = Path(arguments[0])
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(ROOT / "docs", target)
    for page in target.rglob("*.md"):
        page.write_text(_with_outside(page.read_text(), len(page.relative_to(target).parts) - 1))
    for name in OUTSIDE:
        (target / name).write_text((ROOT / name).read_text().replace("](docs/", "]("))
    for name, text in command_pages().items():
        page = target / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text)
    return 0


def _with_outside(markdown: str, depth: int) -> str:
    """Return a page whose links to documents beside `docs/` lead to their pages in the site."""
    names = "|".join(map(re.escape, OUTSIDE))
    return re.sub(rf"\]\({'../' * (depth + 1)}({names})", rf"]({'../' * depth}\1", markdown)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
