"""What the parts of a page look like: the header with its facts, and sections."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from nixdock.page.markup import element, name, text
from nixdock.page.neighbourhood import neighbourhood
from nixdock.page.references import References
from nixdock.view.model import ImageView

__all__ = ["facts", "header", "references_section", "section", "title_of"]

_UNKNOWN_REFERENCES: Final = "Nothing in the image says what its store paths refer to."


def header(kind: str, title: str, lead: str, details: str) -> str:
    """Return the header of a page; all but `kind` is HTML."""
    mark = element("p", f"nixdock {element('span', text(kind))}", class_="mark")
    heading = element("h1", title)
    return element("header", mark + heading + element("p", lead, class_="lead") + details)


def section(title: str, said: str, content: str, style: str | None = None) -> str:
    """Return a section with a heading and a sentence below it, which are texts."""
    sentence = element("p", text(said), class_="said") if said else ""
    return element("section", element("h2", text(title)) + sentence + content, class_=style)


def facts(image: ImageView) -> str:
    """Return what is known of an image besides its layers."""
    items = "".join(
        element("div", element("dt", key) + element("dd", value)) for key, value in _facts(image)
    )
    return element("dl", items, class_="facts")


def references_section(image: ImageView, references: References) -> str:
    """Return the reference graph around the app, which the script draws around other paths too."""
    shown = next((path for path in image.app if path in references.paths), None)
    shown = shown or max(
        references.paths, key=lambda path: references.paths[path].size or 0, default=None
    )
    if shown is None:
        return ""
    if not image.has_references:
        return section("References", _UNKNOWN_REFERENCES, "")
    hint = element(
        "p", "Choose a store path here, in the picture or in the table.", class_="said js"
    )
    return element(
        "section",
        element("h2", "References") + hint + neighbourhood(references, shown),
        class_="references",
    )


def title_of(image: ImageView) -> str:
    """Return what an image is called: its first name, or where it is."""
    return image.names[0] if image.names else image.origin


def _facts(image: ImageView) -> Iterator[tuple[str, str]]:
    if image.names[1:]:
        yield "Other names", ", ".join(map(name, image.names[1:]))
    if image.platform:
        yield "Platform", text(image.platform)
    if image.command:
        yield "Runs", element("code", name(shlex.join(image.command)))
        yield "As", name(image.user or "root")
    if image.created:
        yield "Created", text(image.created)
    if image.digest:
        yield "Manifest", element("code", text(image.digest))
    if image.config_digest:
        yield "Config", element("code", text(image.config_digest))
    if image.names:
        yield "Read from", name(image.origin)
