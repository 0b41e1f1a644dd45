"""Views as JSON: objects whose keys are the names of the fields."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from nixdock.errors import InputError
from nixdock.view.model import ImageView
from nixdock.view.update import UpdateView

__all__ = ["parse_update", "parse_view", "view_document"]

_View = TypeVar("_View", ImageView, UpdateView)


def view_document(view: ImageView | UpdateView) -> dict[str, Any]:
    """Return the JSON object of a view; all keys are there, and what is not known is null."""
    return dict(msgspec.to_builtins(view, enc_hook=_text))


def parse_view(document: Any) -> ImageView:
    """Return the view of an image from its JSON object; raise InputError if it is none."""
    return _parsed(document, ImageView)


def parse_update(document: Any) -> UpdateView:
    """Return the view of an update from its JSON object; raise InputError if it is none."""
    return _parsed(document, UpdateView)


def _parsed(document: Any, kind: type[_View]) -> _View:
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"the object is not a view: {error}") from None


def _text(value: object) -> str:
    """Return a store path as the string that it is; msgspec takes no subclasses of strings."""
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no form in JSON")
