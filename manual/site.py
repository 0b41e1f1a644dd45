"""`python -m manual.site DIRECTORY`: write what the site is generated from.

`pages` has those of `docs/`, those of the commands, which are made from the command line, and the
documents beside `docs/`; `mkdocs.yml` has the settings, and the navigation with all of them.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from manual.commands import commands_by_section
from manual.reference import INDEX, command_pages, page_of

__all__ = ["OUTSIDE", "main", "with_outside"]

ROOT: Final = Path(__file__).parents[1]
SETTINGS: Final = Path(__file__).with_name("mkdocs.yml")
OUTSIDE: Final = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


def main(arguments: Sequence[str]) -> int:
    """Write into the directory that is the only argument, and return the exit status."""
    if len(arguments) != 1:
        print("usage: python -m manual.site DIRECTORY", file=sys.stderr)
        return 2
    directory = Path(arguments[0])
    target = directory / "pages"
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(ROOT / "docs", target)
    for page in [*target.rglob("*.md")]:
        page.write_text(with_outside(page.read_text(), page, target))
    for name in OUTSIDE:
        (target / name).write_text((ROOT / name).read_text().replace("](docs/", "]("))
    for name, text in command_pages().items():
        page = target / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text)
    settings = _with_commands(SETTINGS.read_text()).splitlines(keepends=True)
    kept = [line for line in settings if not _is_missing(line, target)]
    (directory / "mkdocs.yml").write_text("".join(kept))
    return 0


def _is_missing(line: str, pages: Path) -> bool:
    """Return whether a line of the settings is an entry of a page that does not exist."""
    entry = re.fullmatch(r" +- (?:.*: )?(\S+\.md)\n", line)
    return entry is not None and not (pages / entry[1]).exists()


def _with_commands(settings: str) -> str:
    """Return the settings with the pages of the commands below their index in the navigation."""
    (entry,) = (line for line in settings.splitlines() if line.endswith(INDEX))
    start = entry[: entry.index("-")]
    lines = [f"{start}- {entry.partition('- ')[2].partition(':')[0]}:", f"{start}    - {INDEX}"]
    for title, commands in commands_by_section().items():
        lines.append(f"{start}    - {title}:")
        lines += [f"{start}        - {c.full_name}: {page_of(c.name)}" for c in commands]
    return settings.replace(entry, "\n".join(lines))


def with_outside(markdown: str, page: Path, pages: Path) -> str:
    """Return a page whose links to what is beside `docs/` lead to its place in the site.

    A document has a page there, and another file is copied.
    """
    up = "../" * (len(page.relative_to(pages).parts) - 1)

    def moved(found: re.Match[str]) -> str:
        name = found[1]
        if name in OUTSIDE:
            return f"]({up}{name}"
        # Names that begin with a dot are left out of a site.
        place = "/".join(["files", *(part.lstrip(".") for part in name.split("/"))])
        copy = pages / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy)
        return f"]({up}{place}"

    return re.sub(rf"\]\({re.escape(up)}\.\./(?!\.\./)([^)#\s]+)", moved, markdown)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
