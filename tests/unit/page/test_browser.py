"""Pages as people use them, in Chromium."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe

from nixdock.page.image import page_of_images
from nixdock.page.update import page_of_update
from nixdock.system.text import size_text
from nixdock.view.chains import referrers_of, shortest_chain
from nixdock.view.document import view_document
from nixdock.view.model import ImageView, PathView
from nixdock.view.sentence import share_text

from .browser import DESKTOP, PHONE, chromium, opened
from .sample_views import HEBREW, SERVICE, hostile_view, many_paths, plan_view, update_view

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# One worker for all, since a browser needs much memory.
pytestmark = [pytest.mark.tools, pytest.mark.xdist_group("chromium")]

PAGES: Final = ("plan", "update", "hostile")
_COLUMN: Final = """([table, key]) => {
  const cells = [...document.querySelector(table).tHead.rows[0].cells];
  const column = cells.findIndex((cell) => cell.dataset.key === key);
  return [...document.querySelector(table).tBodies[0].rows].map((row) => row.cells[column])
    .map(({ dataset, textContent }) => Number(dataset.number ?? NaN) || textContent.trim());
}"""
_GRAPH: Final = """() => {
  const texts = (selector) => [...document.querySelectorAll(selector)].map((e) => e.textContent);
  return [texts(".chain bdi"), texts(".above bdi"), texts(".below bdi"), texts(".self h3 bdi")];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a page of each kind."""
    directory = tmp_path_factory.mktemp("pages")
    update = update_view(directory)
    found = {
        "update": page_of_update(update, view_document(update)),
        **{
            key: page_of_images([view], view_document(view))
            for key, view in (("plan", plan_view()), ("hostile", hostile_view()))
        },
    }
    files = {key: directory / f"{key}.html" for key in found}
    for key, page in found.items():
        files[key].write_bytes(page)
    return files


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageView, Path]:
    """Write the page of an image with 2,000 store paths."""
    view = many_paths(2000)
    file = tmp_path_factory.mktemp("large") / "large.html"
    file.write_bytes(page_of_images([view], view_document(view)))
    return view, file


@pytest.mark.parametrize("key", PAGES)
def test_pages_are_as_wide_as_the_screen(
    browser: Browser, pages: dict[str, Path], key: str
) -> None:
    for scripts in (True, False):
        with opened(browser, pages[key], scripts=scripts) as found:
            for size in (DESKTOP, PHONE):
                found.resize(size)
                assert found.value("document.documentElement.scrollWidth") == size[0]


@pytest.mark.parametrize("key", PAGES)
def test_everybody_can_read_the_pages(browser: Browser, pages: dict[str, Path], key: str) -> None:
    looks: list[tuple[tuple[int, int], Literal["light", "dark"]]]
    looks = [(DESKTOP, "light"), (PHONE, "dark")]
    with opened(browser, pages[key]) as found:
        for size, scheme in looks:
            found.resize(size)
            found.page.emulate_media(color_scheme=scheme)
            violations = Axe().run(found.page).response["violations"]
            assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_labels_have_contrast_on_every_colour(
    browser: Browser, pages: dict[str, Path], dark: bool
) -> None:
    """Axe does not tell for backgrounds with patterns."""
    layers = ("kept", "moved", "new", "gone", "rare", "some", "many", "most", "app", "other")
    with opened(browser, pages["plan"], dark=dark) as found:
        colours = found.value(
            """(styles) => {
              const bar = document.querySelector(".bar");
              return styles.map((style) => {
                const item = document.createElement("li");
                item.className = style;
                bar.append(item);
                const { backgroundColor, color } = getComputedStyle(item);
                item.style.backgroundColor = "var(--stripe)";
                return [style, color, backgroundColor, getComputedStyle(item).backgroundColor];
              });
            }""",
            [*layers, "again"],
        )
    for style, text, fill, stripe in colours:
        assert _contrast(text, fill) >= 4.5, style
        assert _contrast(text, stripe) >= 4.5, style
    # Patterns tell them apart, too, so their stripes can be seen.
    plain = {style for style, _, fill, stripe in colours if _contrast(fill, stripe) < 1.1}
    assert plain == {"kept", "new", "rare", "some", "many", "most"}


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG defines it."""
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    """Return the luminance of rgb(0, 0, 0) to rgb(255, 255, 255), or color(srgb 0 0 0)."""
    scale = 255 if colour.startswith("rgb(") else 1
    parts = [float(part) / scale for part in re.findall(r"\d[\d.]*", colour)[:3]]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_figures_are_those_of_the_data(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["plan"]) as found:
        data = json.loads(found.value("document.getElementById('data').textContent"))
        layers = found.value(_COLUMN, ["table", "size"])
        paths = found.value(_COLUMN, ["table.paths", "size"])
        (said,) = found.texts(".lead")
    assert data == json.loads(json.dumps(view_document(plan_view())))
    assert layers == [layer["size"] for layer in data["layers"]]
    assert sum(paths) == sum(layers) == data["size"] == sum(size for size, _ in SERVICE.values())
    assert (
        said == f"{size_text(data['size'])} in {len(layers)} layers with {len(paths)} store paths"
    )


def test_what_moves_is_what_the_data_says(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["update"]) as found:
        data = json.loads(found.value("document.getElementById('data').textContent"))
        (heading,) = found.texts("h1")
        statuses, sizes = (
            found.value(_COLUMN, ["table:has([data-key=share])", key]) for key in ("status", "size")
        )
        widths = found.value(
            """() => [...document.querySelectorAll(".bar")].map((bar) =>
              [...bar.children].map((li) => [li.className, li.getBoundingClientRect().width]))"""
        )
        packages = found.texts("table:has([data-key=growth]) tbody th")
        needless = found.texts("table:has(caption:text('without need')) tbody th")
        again = found.page.locator(".tiles .again")
        tiles = again.evaluate_all("(tiles) => tiles.map((tile) => tile.dataset.said)")
    moved = data["registry"]["size"]
    assert heading == (
        f"An update moves {size_text(moved)} of {size_text(data['new']['size'])}"
        f" ({share_text(moved, data['new']['size'])})"
    )
    sizes_by_status = zip(statuses, sizes, strict=True)
    assert sum(size for status, size in sizes_by_status if status == "new") == moved
    for image, bar in zip((data["old"], data["new"]), widths, strict=True):
        styles = [style.removesuffix(" thin") for style, _ in bar]
        assert styles == [layer["status"] for layer in image["layers"]]
    old, new = (sum(width for _, width in bar) for bar in widths)
    assert old / new == pytest.approx(data["old"]["size"] / data["new"]["size"], rel=0.02)
    assert {*packages} == {"curl", "openssl", "service"}
    assert needless == [each["title"] for each in data["needless"]] != []
    assert len(tiles) == sum(each["paths"] for each in data["needless"])
    assert all(said.endswith("transferred again") for said in tiles)


def test_areas_are_to_scale(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["plan"]) as found:
        areas = found.value(
            """() => [...document.querySelectorAll(".tiles a")].map((tile) => {
              const { width, height } = tile.getBoundingClientRect();
              return [tile.getAttribute("href").slice(1), width * height];
            })"""
        )
        rows = found.page.locator("table.paths tbody tr")
        paths = dict(rows.evaluate_all("(rows) => rows.map((row) => [row.id, row.dataset.path])"))
    sizes = {path.path: path.size or 0 for path in plan_view().paths()}
    whole = sum(area for _, area in areas)
    assert len(areas) == len(sizes)
    for key, area in areas:
        share = sizes[paths[key]] / sum(sizes.values())
        # Frames and their heads take some of it.
        assert area / whole == pytest.approx(share, abs=0.02)


def test_tables_are_sorted_with_the_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["plan"]) as found:
        button = found.page.locator("table.paths th[data-key=closure] button")
        head = found.page.locator("table.paths th[data-key=closure]")
        button.focus()
        found.page.keyboard.press("Enter")
        largest_first = found.value(_COLUMN, ["table.paths", "closure"])
        assert head.get_attribute("aria-sort") == "descending"
        found.page.keyboard.press("Space")
        assert head.get_attribute("aria-sort") == "ascending"
        assert found.value(_COLUMN, ["table.paths", "closure"]) == sorted(largest_first)
        assert largest_first == sorted(largest_first, reverse=True)
        found.page.locator("table.paths th[data-key=title] button").press("Enter")
        assert head.get_attribute("aria-sort") is None
        titles = found.value(_COLUMN, ["table.paths", "title"])
        assert titles == sorted(titles)


def test_store_paths_are_found_by_name(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["plan"]) as found:
        found.page.get_by_label("Find a store path").fill("SQL")
        assert found.page.locator("table.paths tbody tr:visible").count() == 1
        assert found.texts("output") == [f"1 of {len(SERVICE)}"]


def test_bars_and_treemaps_are_walked_with_arrow_keys(
    browser: Browser, pages: dict[str, Path]
) -> None:
    with opened(browser, pages["plan"]) as found:
        segments = found.page.locator(".bar a")
        segments.first.focus()
        found.page.keyboard.press("End")
        found.page.keyboard.press("ArrowLeft")
        focused = found.value("document.activeElement.ariaLabel")
        assert focused == segments.nth(segments.count() - 2).get_attribute("aria-label")
        # Each of the two is one stop of the tab key.
        found.page.keyboard.press("Tab")
        found.page.keyboard.press("Home")
        found.page.keyboard.press("ArrowDown")
        tile = found.page.locator(".tiles a").nth(1)
        active = found.page.get_by_role("listbox").get_attribute("aria-activedescendant")
        assert active == tile.get_attribute("id")
        assert found.texts(".reading") == [tile.get_attribute("data-said")]
        found.page.keyboard.press("Enter")
        assert tile.get_attribute("aria-selected") == "true"
        assert found.texts(".self h3") == [tile.locator("bdi").text_content()]


def test_the_graph_is_that_of_the_view(browser: Browser, pages: dict[str, Path]) -> None:
    view = plan_view()
    names = {path.path: path.name for path in view.paths()}
    app = next(path for path in view.paths() if path.path == view.app[0])
    with opened(browser, pages["plan"], scripts=False) as found:
        # The script draws what the page has without it.
        assert found.value(_GRAPH) == _expected(view, app, names)
    with opened(browser, pages["plan"]) as found:
        assert found.value(_GRAPH) == _expected(view, app, names)
        for path in view.paths():
            found.page.locator(f"tr[data-path='{path.path}'] th a").click()
            assert found.value(_GRAPH) == _expected(view, path, names)
        found.page.go_back()
        assert found.texts(".self h3") == [[*view.paths()][-2].name]


def _expected(view: ImageView, path: PathView, names: dict[str, str]) -> list[list[str]]:
    sizes = {each.path: each.size or 0 for each in view.paths()}
    above = [each.path for each in referrers_of(view, path.path)]
    return [
        [each.name for each in shortest_chain(view, path.path)],
        *(
            [names[each] for each in sorted(paths, key=lambda each: (-sizes[each], each))]
            for paths in (above, path.references or ())
        ),
        [path.name],
    ]


def test_an_address_can_name_a_store_path(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["plan"], fragment="#p3") as found:
        title = found.page.locator("#p3 th bdi").text_content()
        assert found.texts(".self h3") == [title]


def test_pages_are_read_without_scripts(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["plan"], scripts=False) as found:
        assert found.page.locator("table.paths tbody tr:visible").count() == len(SERVICE)
        assert found.page.locator(".tiles a:visible").count() == len(SERVICE)
        assert found.page.locator(".graph:visible").count() == 1
        # Nothing is offered that would not work.
        assert found.page.locator("button, input, .js:visible").count() == 0
        # Each store path leads to the one that needs it.
        found.page.locator("tr", has_text="openssl-3.0.14").last.get_by_role(
            "link", name="python-3.11.2"
        ).click()
        target = found.page.locator("tr:target th bdi")
        assert target.text_content() == "python-3.11.2"


def test_names_neither_act_nor_deceive(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["hostile"]) as found:
        found.page.locator("table.paths th a").first.click()
        assert found.page.locator("img, b, iframe, script[src]").count() == 0
        assert found.page.locator("script").count() == 2
        text = found.value("document.body.innerText")
        assert not {*"\u202e\x1b\0\x7f"} & {*text}
        assert found.page.locator("bdi", has_text=HEBREW).count() > 0
        # What stands beside a right-to-left name stays where it is.
        loose = found.value(
            """(text) => {
              const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
              const found = [];
              while (walker.nextNode()) {
                const { nodeValue, parentElement } = walker.currentNode;
                if (nodeValue.includes(text) && !parentElement.closest("bdi, script, .reading")) {
                  found.push(parentElement.outerHTML);
                }
              }
              return found;
            }""",
            HEBREW[:3],
        )
        assert loose == []


def test_thousands_of_store_paths_are_few_elements(
    browser: Browser, large: tuple[ImageView, Path]
) -> None:
    view, file = large
    assert file.stat().st_size < 4_000_000
    with opened(browser, file, PHONE) as found:
        assert found.page.locator("table.paths tbody tr").count() == 2000
        assert found.value("document.documentElement.scrollWidth") == PHONE[0]
        assert found.value("document.querySelectorAll('*').length") < 40_000
        # What is below the first screens is not laid out before it is seen.
        visibility = "(section) => getComputedStyle(section).contentVisibility"
        assert found.page.locator(".long").evaluate(visibility) == "auto"
        used = Counter(other for path in view.paths() for other in path.references or ())
        ((libc, count),) = used.most_common(1)
        found.page.locator(f"tr[data-path='{libc}'] th a").click()
        assert found.texts(".above .count") == [str(count)]
        found.page.locator(".above button").click()
        assert found.page.locator(".above a").count() == count
