"""The site in a real browser: readable for everybody, on phones, and complete by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.unit.page.browser import PHONE, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.slow, pytest.mark.tools, pytest.mark.xdist_group("site")]

PAGES = [
    "",
    "explanation/layers/",
    "html/",
    "how-to/install/",
    "reference/commands/",
    "reference/commands/nixdock-plan/",
    "reference/glossary/",
    "spec/",
    "tutorial/first-image/",
]
SCHEMES: list[Literal["light", "dark"]] = ["light", "dark"]


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *values: object) -> None:  # noqa: A002 (the name in Python)
        pass


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve a directory on loopback; give the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def url(site_directory: Path) -> Iterator[str]:
    with served(site_directory) as found:
        yield found


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_keeps_nobody_from_reading(
    browser: Browser, url: str, page: str, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(color_scheme=scheme)
    opened = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(url + page, wait_until="networkidle")
    violations = Axe().run(opened).response["violations"]
    serious = [each for each in violations if each["impact"] in {"serious", "critical"}]
    assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == []
    opened.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert opened.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    context.close()
    assert said == []
    assert [each for each in asked if not each.startswith((url, "data:", "blob:"))] == []
