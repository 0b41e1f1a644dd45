"""The store paths that commands name."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from nixdock.view.command import named_by_command
from nixdock.view.model import ImageView, LayerKind, LayerView, PathView, ViewKind

APP, SH = f"/nix/store/{'a' * 32}-app-1", f"/nix/store/{'b' * 32}-sh"


@pytest.mark.parametrize(
    ("command", "links", "named"),
    [
        ((f"{APP}/bin/app",), {}, [APP]),
        ((APP,), {}, [APP]),
        ((f"{SH}/bin/sh", "-c", f"exec {APP}/bin/app --x={SH}/y"), {}, [SH, APP, SH]),
        (("/bin/app",), {"/bin/app": f"{APP}/bin/app"}, [APP]),
        (("/bin/app",), {"/bin": f"{APP}/bin"}, [APP]),
        (("/bin/app",), {"/bin": "usr/bin", "/usr/bin/app": f"../..{APP}/bin/app"}, [APP]),
        (("/bin/app",), {"/bin/app": "app", "/bin": "/bin"}, []),
        (("/bin/app",), {}, []),
        (("app", "/bin/app"), {"/bin/app": APP}, []),
        ((f"/nix/store/{'c' * 32}-other/bin/x",), {}, []),
        ((), {}, []),
    ],
)
def test_named(command: tuple[str, ...], links: Mapping[str, str], named: list[str]) -> None:
    layer = LayerView(1, LayerKind.STORE, "x", paths=(PathView(APP, 1), PathView(SH, 1)))
    view = ImageView("x", ViewKind.IMAGE, (layer,), command=command)
    assert named_by_command(view, links) == named
