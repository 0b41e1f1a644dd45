"""The oldest versions of dependencies that are accepted have what nixdock uses of them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize(
    ("name", "too_old"),
    [
        # It has no NoArgsIsHelpError, without which every error ends in a traceback.
        ("click", "8.1.8"),
    ],
)
def test_versions_that_lack_something_are_not_accepted(name: str, too_old: str) -> None:
    dependencies = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    requirements = {each.name: each for each in map(Requirement, dependencies)}
    assert not requirements[name].specifier.contains(too_old)
