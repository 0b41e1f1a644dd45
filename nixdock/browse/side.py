"""What is browsed: one image, or two beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from nixdock.system.text import counted, shown, size_text

if TYPE_CHECKING:
    from nixdock.view.model import FileView, ImageView

__all__ = ["ReadFiles", "Side"]

ReadFiles: TypeAlias = "Callable[[int], Sequence[FileView]]"
"""Returns the files of the layer with a number, or raises NixdockError; it may take long."""


class Side(Struct, frozen=True):
    """An image, and what reads the files of its layers when somebody looks at them.

    Of two images, `role` is "old" or "new".
    """

    view: ImageView
    read_files: ReadFiles
    role: str = ""

    @property
    def title(self) -> str:
        """One line that says what the image is."""
        view = self.view
        parts = [shown(view.names[0] if view.names else view.origin)]
        if self.role:
            parts.insert(0, self.role)
        if view.platform:
            parts.append(shown(view.platform))
        if view.size is not None:
            parts.append(size_text(view.size))
        parts.append(counted(len(view.layers), "layer"))
        return "  ".join(parts)
