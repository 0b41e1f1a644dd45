"""What the Nix package installs beside the program, and the site of the documentation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from manual import install, site

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the man pages and completions."""
    directory = tmp_path_factory.mktemp("share")
    assert install.main([str(directory)]) == 0
    return directory


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the pages in Markdown; the site's settings are beside it."""
    directory = tmp_path_factory.mktemp("build")
    assert site.main([str(directory)]) == 0
    return directory / "pages"


@pytest.fixture(scope="session")
def site_directory(pages: Path) -> Path:
    """Return a directory with the site that is made of them, without a warning."""
    program = Path(sys.executable).with_name("zensical")
    done = subprocess.run(
        [program, "build", "--config-file", "mkdocs.yml", "--clean", "--strict"],
        cwd=pages.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return pages.parent / "site"
