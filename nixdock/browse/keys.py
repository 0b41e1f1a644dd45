"""The keys of the browser, which are those of ncdu and nix-tree."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

__all__ = ["HINTS", "HINTS_OF_TWO", "KEYS", "Key", "help_lines"]


class Key(Struct, frozen=True):
    """Keys that do the same, by Textual's names and as people know them, and what that is."""

    names: str
    shown: str
    action: str
    description: str


KEYS: Final = (
    Key("down,j", "↓ j", "move(1)", "the next row"),
    Key("up,k", "↑ k", "move(-1)", "the row before"),
    Key("pagedown,ctrl+d", "PgDn ^D", "page(1)", "a page down"),
    Key("pageup,ctrl+u", "PgUp ^U", "page(-1)", "a page up"),
    Key("home,g", "Home g", "edge(0)", "the first row"),
    Key("end,G", "End G", "edge(1)", "the last row"),
    Key("enter,right,l", "⏎ → l", "descend", "into the layer, the store path, the directory"),
    Key("left,h,backspace,less_than_sign,escape", "← h < Esc", "ascend", "back"),
    Key("slash", "/", "search", "search store paths; among files, search files"),
    Key("w", "w", "why", "why is it there: the chain of references from the app"),
    Key("i", "i", "explain", "all that is known of it"),
    Key("p", "p", "all_paths", "the store paths of all layers"),
    Key("r", "r", "references", "the store paths that it refers to"),
    Key("u", "u", "referrers", "the store paths that it is used by"),
    Key("s", "s", "sort('size')", "sort by size; once more turns the order round"),
    Key("n", "n", "sort('name')", "sort by name"),
    Key("a", "a", "sort('added size')", "sort by added size"),
    Key("o", "o", "sort('position')", "sort by position in the image"),
    Key("tab", "Tab", "other_side", "the other image"),
    Key("c", "c", "counterpart", "the same layer or store path in the other image"),
    Key("question_mark,f1", "? F1", "help", "this help"),
    Key("q", "q", "leave", "quit"),
)

# Those that fit stand in the last line of the screen.
HINTS: Final = (
    ("?", "help"),
    ("q", "quit"),
    ("⏎", "open"),
    ("←", "back"),
    ("/", "search"),
    ("w", "why"),
    ("i", "info"),
    ("s n a o", "sort"),
    ("p", "all store paths"),
    ("r u", "references, users"),
)
HINTS_OF_TWO: Final = (
    *HINTS[:2],
    ("Tab", "other image"),
    ("c", "the same there"),
    *HINTS[2:],
)

_EXPLAINED: Final = """
size     what a registry stores of a layer; of a store path, its NAR; of a file, its bytes
added    what would leave the image with the store path: it, and all that only it refers to
changes  how many store paths change the layer if they change
(app)    what the image is for

=  kept: in the same layer        +  new
>  moved: in another layer        -  gone
"""


def help_lines() -> list[str]:
    """Return the text of the help."""
    return [
        "The keys are those of ncdu and nix-tree.",
        "",
        *(f"{key.shown:<10} {key.description}" for key in KEYS),
        *_EXPLAINED.splitlines(),
    ]
