"""Writing pages: what is shown, as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nixdock.cli.progress import wrote
from nixdock.system.atomic import whole_file

if TYPE_CHECKING:
    from nixdock.view import ImageView, UpdateView

__all__ = ["write_image_page", "write_update_page"]


def write_image_page(target: Path, images: Sequence[ImageView], document: Any) -> None:
    """Write the page on `images`; `document` is what --json prints, which is embedded as data."""
    from nixdock.page.image import page_of_images

    _write(target, page_of_images(images, document))


def write_update_page(target: Path, update: UpdateView, document: Any) -> None:
    """Write the page on an update; `document` is what --json prints, which is embedded as data."""
    from nixdock.page.update import page_of_update

    _write(target, page_of_update(update, document))


def _write(target: Path, page: bytes) -> None:
    with whole_file(target) as file:
        file.write(page)
    wrote(target, "a page for browsers")
