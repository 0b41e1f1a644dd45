"""The site has every page, each link in it leads somewhere, and it needs nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import click
import pytest

from manual import pictures, site
from manual.reference import DEMONSTRATIONS, page_of
from nixdock.cli import main
from nixdock.system.text import size_text

ROOT = Path(__file__).parents[2]
# The page for addresses that do not exist states its own links from the root of the server.
NOT_FOUND = "404.html"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]


class Page(HTMLParser):
    """The anchors of a page, what it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attributes if value is not None}
        self.anchors.update(found[name] for name in ("id", "name") if name in found)
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.loaded += [found[name] for name in ("src",) if name in found]
        if tag == "link" and found.get("rel") in ("stylesheet", "icon"):
            self.loaded.append(found["href"])


@pytest.fixture(scope="module")
def built(site_directory: Path) -> dict[Path, Page]:
    """Return all pages of the site."""
    found = site_directory.rglob("*.html")
    return {page: Page(page.read_text()) for page in found if page.name != NOT_FOUND}


def test_every_link_leads_to_a_page_and_an_anchor(built: dict[Path, Page]) -> None:
    assert len(built) > 60
    for page, content in built.items():
        for link in [*content.links, *content.loaded]:
            address, anchor = urldefrag(link)
            if urlsplit(address).scheme:
                continue
            target = (page.parent / unquote(address)).resolve() if address else page
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{page}: {link}"
            if anchor and target in built:
                assert unquote(anchor) in built[target].anchors, f"{page}: {link}"


def test_what_lies_beside_the_documentation_has_a_place_in_the_site(tmp_path: Path) -> None:
    page = tmp_path / "how-to/page.md"
    text = (
        "[a](../../SECURITY.md#x) [b](../../.ci/run) [c](../spec.md) [d](https://example.org/../x)"
    )
    moved = site.with_outside(text, page, tmp_path)
    assert moved == (
        "[a](../SECURITY.md#x) [b](../files/ci/run) [c](../spec.md) [d](https://example.org/../x)"
    )
    assert (tmp_path / "files/ci/run").read_bytes() == (ROOT / ".ci/run").read_bytes()


def test_nothing_is_loaded_from_elsewhere(built: dict[Path, Page]) -> None:
    for page, content in built.items():
        assert [link for link in content.loaded if urlsplit(link).netloc] == [], page


def test_every_page_is_in_the_navigation(pages: Path, built: dict[Path, Page]) -> None:
    names = {page.relative_to(pages).as_posix() for page in pages.rglob("*.md")}
    settings = (pages.parent / "mkdocs.yml").read_text()
    assert set(re.findall(r"^ +- (?:.*: )?(\S+\.md)$", settings, re.MULTILINE)) == names
    index = next(page for page in built if page.parts[-3:-1] == ("reference", "commands"))
    linked = {(index.parent / link).resolve() for link in built[index].links}
    for name in main.list_commands(click.Context(main)):
        assert page_of(name) in names
        assert index.parent / f"nixdock-{name}" in linked


def test_examples_have_been_run(pages: Path) -> None:
    text = (pages / page_of("verify")).read_text()
    assert "$ nixdock verify demo.tar\nok: archive, 1 image, 5 layers, " in text
    for name, lines in DEMONSTRATIONS.items():
        page = (pages / page_of(name)).read_text()
        assert all(f"```console\n$ {line}\n" in page for line in lines)


def test_pictures_are_those_that_the_repository_draws() -> None:
    for name, text in pictures.pictures().items():
        assert (pictures.IMAGES / name).read_text() == text, "run python -m manual.pictures"


def test_pictures_can_be_read_without_being_seen() -> None:
    for text in pictures.pictures().values():
        assert re.search(r'role="img" aria-labelledby="title description"', text)
        assert len(re.findall(r'<title id="title">.+</title>', text)) == 1
        assert len(re.findall(r'<desc id="description">.{80,}</desc>', text)) == 1
        assert "prefers-color-scheme: dark" in text


def test_figures_in_the_text_are_those_of_the_pictures() -> None:
    """The texts in place of the pictures, and the comparison, state the same sizes."""
    readme = (ROOT / "README.md").read_text()
    comparison = (ROOT / "docs/explanation/comparison.md").read_text()
    layers = (ROOT / "docs/explanation/layers.md").read_text()
    update = pictures.update_by("stable+previous", 100)
    assert f"an update moves {size_text(update.transferred)}" in readme
    assert f"of {size_text(update.size)}" in readme
    for strategy in ("popularity", "auto", "stable+previous"):
        moved = size_text(pictures.update_by(strategy, 25).transferred)
        assert moved in comparison
        assert moved in layers
