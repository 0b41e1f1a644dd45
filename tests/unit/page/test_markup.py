"""Text becomes HTML that shows it and nothing else."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from nixdock.page.markup import element, isolated, name, text

from .sample_views import CONTROLS, HEBREW, OVERRIDE


class Reader(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.events: list[object] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.events.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.events.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.events.append(data)


@given(st.text(min_size=1, max_size=100))
def test_text_stays_text(said: str) -> None:
    (shown,) = Reader(text(said)).events
    assert isinstance(shown, str)
    assert shown.isprintable()
    if said.isprintable():
        assert shown == said


@given(st.text(max_size=100))
def test_attributes_keep_their_values(said: str) -> None:
    value = isolated(said)
    assert Reader(element("p", data_said=value)).events == [("p", {"data-said": value}), "/p"]


def test_control_characters_and_overrides_are_spelled_out() -> None:
    assert text(CONTROLS) == r"a\x1b[31m\x00\r\nb\x7f"
    assert text(OVERRIDE) == r"invoice\u202egnp.exe"


def test_right_to_left_names_are_isolated() -> None:
    assert name(HEBREW) == f"<bdi>{HEBREW}</bdi>"
    assert isolated(HEBREW) == f"\u2068{HEBREW}\u2069"


def test_attributes_can_be_left_out() -> None:
    assert element("a", "b", class_=None, hidden=True, open=False, href="#") == (
        '<a hidden href="#">b</a>'
    )
