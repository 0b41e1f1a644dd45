"""What the parts of a page look like: the header with its facts, and sections."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Final

from nixdock.page.layer_table import layer_table
from nixdock.page.markup import element, name, text
from nixdock.page.neighbourhood import neighbourhood
from nixdock.page.path_table import path_table
from nixdock.page.pictures import frames
from nixdock.page.references import References
from nixdock.page.sheet import Sheet
from nixdock.page.treemap import treemap
from nixdock.view.model import ImageView, LayerView

__all__ = ["contents", "facts", "header", "section", "tables", "title_of"]

_TREEMAP: Final = "Frames are layers, tiles store paths; areas are uncompressed sizes"
_CHOOSE: Final = "Choose a store path here, above or in the table below."
# From how many rows on a table is not laid out before it is seen, and how high a row is, in pixels.
_LONG: Final = 200
_ROW_HEIGHT: Final = 35
_UNKNOWN_REFERENCES: Final = (
    "Nothing states what the store paths refer to; --graph names a file that does."
)


def header(kind: str, title: str, lead: str, details: str) -> str:
    """Return the header of a page; all but `kind` is HTML."""
    mark = element("p", f"nixdock {element('span', text(kind))}", class_="mark")
    heading = element("h1", title)
    below = element("p", lead, class_="lead") if lead else ""
    return element("header", mark + heading + below + details)


def section(title: str, said: str, content: str, **attributes: object) -> str:
    """Return a section with a heading and a sentence below it, which are texts."""
    sentence = element("p", text(said), class_="said") if said else ""
    return element("section", element("h2", text(title)) + sentence + content, **attributes)


def facts(image: ImageView) -> str:
    """Return what is known of an image besides its layers."""
    items = "".join(
        element("div", element("dt", key) + element("dd", value)) for key, value in _facts(image)
    )
    return element("dl", items, class_="facts")


def contents(
    prefix: str, image: ImageView, references: References, legend: str, sheet: Sheet
) -> Iterator[str]:
    """Yield the sections that draw what is in the layers; `legend` is HTML."""
    drawn = frames(prefix, image, references)
    if any(frame.size for frame in drawn):
        area = treemap(drawn, "Contents of the layers", sheet)
        figure = element("figure", area + element("figcaption", legend))
        known = all(layer.tar_size or layer.nar_size for layer in image.layers)
        said = f"{_TREEMAP}." if known else f"{_TREEMAP}, where they are known."
        yield section("Contents", said, figure)
    if not references.paths:
        return
    if not image.has_references:
        yield section("Reference graph", _UNKNOWN_REFERENCES, "")
        return
    # The script draws the references of other store paths.
    hint = element("p", _CHOOSE, class_="said js")
    graph = neighbourhood(references, _most_important(image, references))
    yield section("Reference graph", "", hint + graph)


def tables(
    prefix: str,
    image: ImageView,
    old: Iterable[LayerView],
    references: References,
    sheet: Sheet,
) -> Iterator[str]:
    """Yield the sections with all figures; `old` are layers that only the old image has."""
    yield section("All layers", "", layer_table(prefix, image.layers, old))
    count = len(references.paths)
    if not count:
        return
    attributes = {}
    if count >= _LONG:
        attributes = {"id": f"{prefix}all", "class": "long"}
        sheet.reserve(f"{prefix}all", count * _ROW_HEIGHT)
    yield section("All store paths", "", path_table(prefix, image, references), **attributes)


def _most_important(image: ImageView, references: References) -> str:
    """Return the app or, if there is none, the largest store path."""
    paths = references.paths
    app = (path for path in image.app if path in paths)
    return next(app, max(paths, key=lambda path: paths[path].size or 0))


def title_of(image: ImageView) -> str:
    """Return what an image is called: its first name, or where it is."""
    return image.names[0] if image.names else image.origin


def _facts(image: ImageView) -> Iterator[tuple[str, str]]:
    if image.names[1:]:
        yield "Other names", ", ".join(map(name, image.names[1:]))
    if image.platform:
        yield "Platform", name(image.platform)
    if image.command:
        yield "Runs", element("code", name(shlex.join(image.command)))
        yield "As", name(image.user or "root")
    if image.created:
        yield "Created", name(image.created)
    if image.digest:
        yield "Manifest", element("code", name(image.digest))
    if image.config_digest:
        yield "Config", element("code", name(image.config_digest))
    if image.names:
        yield "Read from", name(image.origin)
