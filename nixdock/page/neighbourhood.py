"""The reference graph around a store path: what refers to it, what it refers to, the way to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nixdock.page.markup import element, name, text
from nixdock.page.references import References
from nixdock.page.words import size_or_unknown

__all__ = ["neighbourhood"]

# How many store paths a column shows at first; page.js has the same number.
_MOST: Final = 12


def neighbourhood(references: References, path: str) -> str:
    """Return the graph around `path` as HTML. The script fills the same elements for others."""
    chain = "".join(element("li", _link(references, each)) for each in references.chain(path))
    why = element("h3", "Why it is in the image", class_="why") + element(
        "ol", chain, class_="chain", aria_label="Shortest chain of references from the app"
    )
    columns = (
        _column(references, "Referrers", references.above[path], "above")
        + _card(references, path)
        + _column(references, "References", references.below[path], "below")
    )
    return element(
        "div",
        why + element("div", columns, class_="columns"),
        class_="graph",
        data_key=references.keys[path],
    )


def _card(references: References, path: str) -> str:
    view = references.paths[path]
    figures = (
        ("layer", "Layer", str(view.layer)),
        ("size", "Size", size_or_unknown(view.size)),
        ("added", "Added size", size_or_unknown(view.added_size)),
        ("closure", "Closure", size_or_unknown(view.closure_size)),
    )
    items = "".join(
        element("div", element("dt", title) + element("dd", text(value), data_figure=key))
        for key, title, value in figures
    )
    title = element("h3", name(view.name), tabindex="-1")
    where = element("p", text(path), class_="path")
    return element("div", title + where + element("dl", items), class_="self")


def _column(references: References, title: str, paths: Sequence[str], style: str) -> str:
    largest = sorted(paths, key=lambda path: (-(references.paths[path].size or 0), path))
    items = [_item(references, path) for path in largest[:_MOST]]
    if (more := len(largest) - _MOST) > 0:
        items.append(element("li", f"and {more} more", class_="more"))
    if not paths:
        items.append(element("li", "nothing", class_="more"))
    head = element("h3", f"{title} {element('span', str(len(paths)), class_='count')}")
    return element("div", head + element("ul", "".join(items)), class_=style)


def _item(references: References, path: str) -> str:
    figure = element("small", size_or_unknown(references.paths[path].size))
    return element("li", _link(references, path, figure))


def _link(references: References, path: str, figure: str = "") -> str:
    title = name(references.paths[path].name)
    return element("a", title + figure, href=f"#{references.keys[path]}")
