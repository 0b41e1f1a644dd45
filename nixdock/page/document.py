"""The file: one HTML document with its styles, script and data, and nothing from elsewhere."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from importlib.resources import files
from typing import Any

from nixdock.page.markup import element, text
from nixdock.page.sheet import Sheet

__all__ = ["html_document"]


def html_document(title: str, body: str, sheet: Sheet, document: Any) -> bytes:
    """Return an HTML document with `body`, which is HTML, and the rules of `sheet`.

    `document` is a JSON value that is embedded as data. A policy allows the document to run and to
    apply just what it has itself, by hashes, and to load nothing.
    """
    assets = files("nixdock.page")
    style = assets.joinpath("page.css").read_text("utf-8")
    script = assets.joinpath("page.js").read_text("utf-8")
    styles = [style, sheet.text()]
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src {' '.join(map(_source, styles))}",
            f"script-src {_source(script)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    head = [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        # Browsers ask the server of a page for an icon, unless it names one.
        element("link", rel="icon", href="data:,"),
        element("title", text(title)),
        *(element("style", each) for each in styles),
    ]
    data = element("script", _embedded(document), type="application/json", id="data")
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        *head,
        "</head>",
        "<body>",
        body,
        data,
        element("script", script),
        "</body>",
        "</html>",
        "",
    ]
    return "\n".join(lines).encode()


def _source(content: str) -> str:
    """Return the name of a style or script in the policy."""
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{b64encode(digest).decode()}'"


def _embedded(document: Any) -> str:
    """Return JSON in ASCII that has no characters with which HTML could begin anything."""
    # Escaped, they mean the same to readers of JSON.
    found = json.dumps(document, ensure_ascii=True, separators=(",", ":"))
    return found.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
