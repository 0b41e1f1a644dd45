"""The rules that place what a page draws: a style sheet, since attributes can't have a hash."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

__all__ = ["Sheet"]


class Sheet(Struct):
    """The rules of one page, in the order in which they were added."""

    rules: list[str] = field(default_factory=list)

    def place(self, identifier: str, **percentages: float) -> None:
        """Set `left`, `top`, `width` and `height` of an element, in per cent."""
        self.rules.append(f"#{identifier}{{{_declarations(percentages)}}}")

    def reserve(self, identifier: str, height: int) -> None:
        """Say how many pixels high an element will be, which is not laid out before it is seen."""
        self.rules.append(f"#{identifier}{{contain-intrinsic-size:auto {height}px}}")

    def text(self) -> str:
        """Return the style sheet."""
        return "\n".join(self.rules)


def _declarations(percentages: Mapping[str, float]) -> str:
    return ";".join(f"{key}:{_number(value)}%" for key, value in percentages.items())


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
