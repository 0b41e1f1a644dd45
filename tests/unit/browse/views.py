"""Views of small images, as they come from the model."""

from __future__ import annotations

from collections.abc import Sequence

from nixdock.browse.side import Side
from nixdock.errors import ImageError
from nixdock.view.model import (
    FileView,
    ImageView,
    LayerKind,
    LayerView,
    PathView,
    Status,
    ViewKind,
)


def store_path(name: str, letter: str = "a") -> str:
    return f"/nix/store/{letter * 32}-{name}"


LIBC, TLS, APP = (
    store_path(name, letter)
    for name, letter in (("libc-2", "c"), ("tls-3.0", "d"), ("app-1.0", "f"))
)
FILES = {
    1: [
        FileView(LIBC, "directory"),
        FileView(f"{LIBC}/lib", "directory"),
        FileView(f"{LIBC}/lib/libc.so", "file", 900, 0o555),
        FileView(f"{LIBC}/lib/libc.so.6", "symbolic link", target="libc.so"),
        FileView(f"{LIBC}/share/doc/readme", "file", 100, 0o444),
        FileView(TLS, "file", 50),
    ],
    2: [FileView(f"{APP}/bin/app", "file", 30, 0o555)],
    3: [FileView("/", "directory"), FileView("/etc/motd", "file", 3)],
}


def view(status: Status | None = None) -> ImageView:
    """An image of three layers: two libraries, the app, and files of its own."""
    libc = PathView(LIBC, 1, 1000, 1000, 1000, ())
    tls = PathView(TLS, 1, 50, 1050, 50, (LIBC,))
    app = PathView(APP, 2, 30, 1080, 1080, (TLS,), is_app=True, status=status)
    layers = (
        LayerView(1, LayerKind.STORE, "libc-2", 700, paths=(libc, tls), changed_by=2),
        LayerView(2, LayerKind.STORE, "app-1.0", 25, paths=(app,), changed_by=3, has_app=True),
        LayerView(3, LayerKind.OWN_FILES, "the image's own files", 10, comment="own"),
    )
    return ImageView(
        "app.tar",
        ViewKind.IMAGE,
        layers,
        800,
        names=("app:1.0",),
        platform="linux/amd64",
        app=(APP,),
        references_from="the test",
    )


def read_files(number: int) -> Sequence[FileView]:
    if number not in FILES:
        raise ImageError(f"layer {number} is damaged")
    return FILES[number]


def side(role: str = "") -> Side:
    return Side(view(), read_files, role)
