"""What is made of the command line and of `docs/` for readers: man pages, completions, the site.

Nothing here is a part of the program: `nix/package.nix` runs `manual.install`, and `make docs` runs
mkdocs, which loads `manual.site`.
"""

from __future__ import annotations

__all__: list[str] = []
