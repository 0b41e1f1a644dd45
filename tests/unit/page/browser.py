"""Pages in a real browser, which tells of everything that goes wrong in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["DESKTOP", "PHONE", "Opened", "chromium", "opened"]

DESKTOP: Final = (1280, 900)
PHONE: Final = (360, 740)


@dataclass
class Opened:
    """A page that is open: `said` are messages of the console and errors, `asked` its requests."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def value(self, script: str, argument: object = None) -> Any:
        return self.page.evaluate(script, argument)

    def resize(self, size: tuple[int, int]) -> None:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_text_contents()


@contextmanager
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    # Its sandbox is not for root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser,
    file: Path,
    size: tuple[int, int] = DESKTOP,
    *,
    dark: bool = False,
    scripts: bool = True,
    fragment: str = "",
) -> Iterator[Opened]:
    """Open a page; afterwards, check that it neither complained nor asked for anything else."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        java_script_enabled=scripts,
    )
    page = context.new_page()
    found = Opened(page)
    page.on("console", lambda message: found.said.append(message.text))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("dialog", lambda dialog: found.said.append(dialog.message))
    page.on("request", lambda request: found.asked.append(request.url))
    page.goto(f"{file.as_uri()}{fragment}")
    yield found
    context.close()
    assert found.said == []
    # The icon is data in the page.
    assert {url.partition("#")[0] for url in found.asked} <= {file.as_uri(), "data:,"}
