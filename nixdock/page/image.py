"""The page on an image, or on a plan of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nixdock.page.bars import bar_figure
from nixdock.page.document import html_document
from nixdock.page.markup import element, name, text
from nixdock.page.pictures import image_bar
from nixdock.page.references import references_of
from nixdock.page.sections import contents, facts, header, section, tables, title_of
from nixdock.page.sheet import Sheet
from nixdock.page.styles import change_legend
from nixdock.page.words import size_or_unknown
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
    legend = change_legend(image)
    lead = f"{size_or_unknown(image.size)} in {counted(len(image.layers), 'layer')}"
    if references.paths:
        lead += f" with {counted(len(references.paths), 'store path')}"
    command = "inspect" if image.kind.has_blobs else "plan"
    parts = [header(command, name(title_of(image)), text(lead), facts(image))]
    bar = image_bar(prefix, image, title_of(image))
    # Of a spec of which nothing was packed, no sizes are known.
    if bar.size:
        figure = bar_figure([bar], legend, sheet)
        parts.append(section("Layers", "Bottom first, to scale.", figure))
    parts += [
        *contents(prefix, image, references, legend, sheet),
        *tables(prefix, image, (), references, sheet),
    ]
    return element("article", "\n".join(parts))
