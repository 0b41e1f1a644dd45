"""The file: its policy, its data, and the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.page.document import html_document
from nixdock.page.image import page_of_images
from nixdock.page.sheet import Sheet
from nixdock.page.update import page_of_update
from nixdock.view.document import view_document

from .sample_views import hostile_view, many_paths, plan_view, update_view

_DATA = re.compile(r'<script type="application/json" id="data">([^<>&]*)</script>')
_BLOCK = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_data_is_whole_and_ends_where_it_ends(document: Any) -> None:
    page = html_document("title", "<p>body</p>", Sheet(), document).decode()
    (found,) = _DATA.findall(page)
    assert json.loads(found) == document
    assert found.isascii()


def test_the_policy_names_just_what_the_page_has() -> None:
    page = page_of_images([plan_view()], {}).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.split(" ", 1) for rule in policy.replace("&#x27;", "'").split("; "))
    hashes: dict[str, list[str]] = {"style": [], "script": []}
    for kind, content in _BLOCK.findall(page):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    assert rules == {
        "default-src": "'none'",
        "style-src": " ".join(hashes["style"]),
        "script-src": " ".join(hashes["script"]),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    # What it would forbid is not there.
    assert not re.search(r"""<[^<>]*\s(style|on\w+)=|https?://|url\(|@import|innerHTML""", page)


def test_identifiers_are_unique_and_fragments_lead_to_them(tmp_path: Path) -> None:
    update = update_view(tmp_path)
    for page in (page_of_images([plan_view(), hostile_view()], {}), page_of_update(update, {})):
        text = page.decode()
        found = re.findall(r'\sid="([^"]*)"', text)
        assert len(found) == len({*found})
        assert {*re.findall(r'href="#([\w-]*)"', text)} <= {*found}


@pytest.mark.parametrize("view", [plan_view(), many_paths(300)], ids=["few", "many"])
def test_tables_have_all_layers_and_store_paths(view: Any) -> None:
    page = page_of_images([view], view_document(view)).decode()
    assert re.findall(r'data-path="([^"]*)"', page) == [
        path.path for path in sorted(view.paths(), key=lambda path: (-path.size, path.path))
    ]
    assert page.count('<tr id="layer') == len(view.layers)


def test_an_image_without_anything_is_a_page() -> None:
    assert b"<h1>" not in page_of_images([], {})
