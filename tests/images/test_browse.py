"""The browser comes with nixdock if that is wanted, and says so if it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..unit.browse.terminal import terminal
from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]


def test_the_browser_in_nix(library: Library, tmp_path: Path) -> None:
    image = library.build(
        'nixdock.buildLayeredImage { name = "x"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }'
    )
    env = {"HOME": str(tmp_path), "PATH": "/no", "LANG": "C.UTF-8"}
    without = library.build("nixdock.package")
    with terminal([without / "bin/nixdock", "browse", image], env, columns=300) as shown:
        assert shown.end() == 1
        assert "in Nix, nixdock.override { withBrowser = true; } has it" in shown.text
    program = library.build("nixdock.package.override { withBrowser = true; }")
    with terminal([program / "bin/nixdock", "browse", image], env) as shown:
        shown.wait("? help")
        assert "hello-" in shown.text
        shown.press("q")
        assert (shown.end(), shown.is_sane) == (0, True)
