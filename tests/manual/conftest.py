"""What the Nix package installs beside the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from manual import install


@pytest.fixture(scope="session")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the man pages and completions."""
    directory = tmp_path_factory.mktemp("share")
    assert install.main([str(directory)]) == 0
    return directory
