"""The page on an image, or on a plan of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nixdock.page.bars import bar_figure
from nixdock.page.document import html_document
from nixdock.page.layer_table import layer_table
from nixdock.page.markup import element, name, text
from nixdock.page.path_table import path_table
from nixdock.page.pictures import frames, image_bar
from nixdock.page.references import references_of
from nixdock.page.sections import facts, header, references_section, section, title_of
from nixdock.page.sheet import Sheet
from nixdock.page.treemap import treemap
from nixdock.page.words import change_legend, size_or_unknown
from nixdock.system.text import counted
from nixdock.view.model import ImageView

__all__ = ["page_of_images"]


def page_of_images(images: Sequence[ImageView], document: Any) -> bytes:
    """Return the page on `images`, of which most files have one; `document` is embedded as data."""
    sheet = Sheet()
    articles = [
        _article(f"i{number}" if number > 1 else "", image, sheet)
        for number, image in enumerate(images, 1)
    ]
    title = title_of(images[0]) if images else "no image"
    body = element("main", "\n".join(articles))
    return html_document(f"{title} - nixdock", body, sheet, document)


def _article(prefix: str, image: ImageView, sheet: Sheet) -> str:
    references = references_of(image, f"{prefix}p")
    count = sum(len(layer.paths) for layer in image.layers)
    lead = f"{size_or_unknown(image.size)} in {counted(len(image.layers), 'layer')}"
    if count:
        lead += f" with {counted(count, 'store path')}"
    parts = [
        header(
            "inspect" if image.kind.has_blobs else "plan",
            name(title_of(image)),
            text(lead),
            facts(image),
        ),
        section(
            "Layers",
            "Bottom first, to scale.",
            bar_figure([image_bar(prefix, image, title_of(image))], change_legend(image), sheet),
        ),
        section(
            "Store paths",
            "Each frame is a layer, each tile a store path; areas are uncompressed sizes.",
            treemap(frames(prefix, image, references), "Store paths by layer", sheet),
        ),
        references_section(image, references),
        section("All layers", "", layer_table(prefix, image.layers)),
    ]
    if count:
        parts.append(section("All store paths", "", path_table(prefix, references), style="long"))
    return element("article", "\n".join(parts))
