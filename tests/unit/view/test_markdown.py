"""Markdown for pull requests: names in it do nothing, as a Markdown parser sees it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace

from nixdock.diff.comparison import compare_sides
from nixdock.diff.side import Document, Side, SideKind, SideLayer
from nixdock.face.viewing import view_diff
from nixdock.view.markdown import code, image_markdown, paths_markdown, update_markdown
from nixdock.view.update import UpdateView
from tests.unit.closures import store_path

HOSTILE = (
    "</code><script>alert(1)</script>",
    "`<img src=x onerror=alert(1)>`",
    "a | b \\| c \\",
    "[x](javascript:alert(1)) ![y](https://evil.example/z)",
    "@everyone #1 https://evil.example www.evil.example",
    "\u202egnp.exe\x1b[31m\r\n\r\n# head\n---",
    "``` \n~~~",
    "&lt;script&gt; **bold** _it_ $x$ <!-- ",
)
HARMLESS = {"p", "strong", "code", "table", "thead", "tbody", "tr", "th", "td"}


class _Tags(HTMLParser):
    """The tags of rendered Markdown, and the texts outside of code."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.outside = ""
        self.inside: list[str] = []
        self._in_code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert all(name == "style" and "text-align" in (value or "") for name, value in attrs)
        self._in_code |= tag == "code"
        if tag == "code":
            self.inside.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_code &= tag != "code"

    def handle_data(self, data: str) -> None:
        if self._in_code:
            self.inside[-1] += data
        else:
            self.outside += data


def rendered(text: str) -> _Tags:
    tags = _Tags()
    tags.feed(MarkdownIt("commonmark").enable("table").render(text))
    return tags


def update(*titles: str, origin: str = "new.tar") -> UpdateView:
    """Return the view of an update between images, with layers of other tools called `titles`."""

    def side(salt: str, origin: str, *more: SideLayer) -> Side:
        paths = (store_path("lib-1"), store_path(f"app-{salt}"))
        layers = [SideLayer(1, paths, 100, f"sha256:{salt}", comment="x"), *more]
        document = Document(f"sha256:{salt}", 10)
        return Side(origin, SideKind.IMAGE, tuple(layers), document, document)

    more = (SideLayer(i, (), 5, f"sha256:t{i}", comment=x) for i, x in enumerate(titles, 2))
    return view_diff(compare_sides(side("1", "old.tar"), side("2", origin, *more)))


def forms(view: UpdateView) -> Iterator[str]:
    yield update_markdown(view)
    yield image_markdown(view.new)
    yield paths_markdown(view.new)


@pytest.mark.parametrize("name", HOSTILE)
def test_markup_in_names_does_nothing(name: str) -> None:
    plain = rendered(update_markdown(update("harmless")))
    view = update(name, origin=name)
    view = replace(view, new=replace(view.new, names=(name,), platform=name))
    for text in forms(view):
        assert all(c.isprintable() or c == "\n" for c in text)
        tags = rendered(text)
        assert tags.tags <= HARMLESS
        for word in ("script", "evil", "alert", "@", "everyone", "bold", "head"):
            assert word not in tags.outside
    tags = rendered(update_markdown(view))
    # It stands in the same cells, and nothing else has changed.
    assert tags.outside == plain.outside
    assert len(tags.inside) == len(plain.inside)


@given(st.text(min_size=1))
@example("`")
@example("\\")
@example(" x ")
def test_a_code_span_is_one(text: str) -> None:
    tags = rendered(f"| a | b |\n|---|---|\n| {code(text)} | end |\n")
    assert tags.tags <= HARMLESS
    assert "".join(tags.outside.split()) == "abend"
    assert len(tags.inside) == 1


def test_an_update() -> None:
    view = update("base")
    text = update_markdown(view)
    assert text.startswith("**An update moves 125 B of 125 B (100 %): `app` `1` → `2`**\n")
    assert "| `app` | `1` | `2` | ? |" in text
    assert "| `lib-1` | 1 | 1 of 2 | ? | `its layer also holds app-2, which is new, in pl" in text
    assert re.search(r"\| 2 \| new \| `base` \| 5 B \| █ \| `the layer is new` \|", text)
    assert text.endswith(
        "Store paths: 1 new, 1 gone, 1 kept, 0 moved. Registries, containerd and Podman transfer"
        " 125 B in 2 layers, classic Docker 125 B in 2 layers.\n"
    )
    short = update_markdown(view, top=1)
    assert "and 1 more layer\n" in short


def test_images_and_paths() -> None:
    view = replace(update("base").new, names=("app:1", "app:latest"), platform="linux/amd64")
    assert (
        image_markdown(view)
        == """\
**`app:1`, `app:latest`** for `linux/amd64`: 2 layers, 125 B

| layer | what | size |  | paths | changes with |
|--:|---|--:|---|--:|---|
| 1 | `lib-1` +1 | 100 B | ████████████████████ | 2 |  |
| 2 | `base` | 5 B | █ | 0 |  |
"""
    )
    assert image_markdown(view, "size", 1).endswith("\n\nand 1 more layer\n")
    assert [line.split(" | ")[0] for line in paths_markdown(view, "name").splitlines()[2:]] == [
        "| `app-2`",
        "| `lib-1`",
    ]
