"""What people look at: images, their layers and store paths, and updates, as one model.

The terminal, JSON, Markdown and HTML are renderings of it, so that all of them agree. ::

    from nixdock.face.viewing import view_image, view_update

    view = view_image(Path("app.tar"), files=True)
    update = view_update(Path("old.tar"), Path("new.tar"))
    document = view_document(update)           # for JSON
    assert parse_update(document) == update

`model` and `update` have the values; the other modules make and read them, as pure functions.
"""

from nixdock.view.document import parse_update, parse_view, view_document
from nixdock.view.model import (
    FileView,
    ImageView,
    LayerKind,
    LayerView,
    PathView,
    Status,
    ViewKind,
)
from nixdock.view.update import Needless, PackageChange, PackageStatus, TransferView, UpdateView

__all__ = [
    "FileView",
    "ImageView",
    "LayerKind",
    "LayerView",
    "Needless",
    "PackageChange",
    "PackageStatus",
    "PathView",
    "Status",
    "TransferView",
    "UpdateView",
    "ViewKind",
    "parse_update",
    "parse_view",
    "view_document",
]
