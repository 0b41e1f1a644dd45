"""The browser comes with nixdock if that is wanted, and says so if it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..unit.browse.terminal import terminal
from .conftest import LIBRARY, Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]

# What the program and the documentation say.
ADVICE = "pkgs.nixdock.package.override { withBrowser = true; }"


def test_the_browser_in_nix(library: Library, tmp_path: Path) -> None:
    image = library.build(
        'nixdock.buildLayeredImage { name = "x"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }'
    )
    env = {"HOME": str(tmp_path), "PATH": "/no", "LANG": "C.UTF-8"}
    without = library.build("nixdock.package")
    with terminal([without / "bin/nixdock", "browse", image], env, columns=300) as shown:
        assert shown.end() == 1
        assert f"in Nix, {ADVICE} has it" in shown.text
    assert f"`{ADVICE}`" in (LIBRARY.parent / "docs/browse.md").read_text()
    program = library.build(f"let library = nixdock; pkgs.nixdock = library; in {ADVICE}")
    with terminal([program / "bin/nixdock", "browse", image], env) as shown:
        shown.wait("? help")
        assert "hello-" in shown.text
        shown.press("q")
        assert (shown.end(), shown.is_sane) == (0, True)
