"""Comparing two images, plans or graphs: how many bytes an update transfers, and why.

::

    diff = compare_sides(read_side(Path("old.tar")), read_side(Path("new.plan.json")))
    diff.transfers.registry.total
"""

from nixdock.diff.comparison import compare_sides
from nixdock.diff.reading import Planning, read_side
from nixdock.diff.result import (
    Change,
    Diff,
    GoneLayer,
    NewLayer,
    PathStatus,
    Status,
    Transfer,
    Transfers,
)
from nixdock.diff.side import Document, Side, SideKind, SideLayer

__all__ = [
    "Change",
    "Diff",
    "Document",
    "GoneLayer",
    "NewLayer",
    "PathStatus",
    "Planning",
    "Side",
    "SideKind",
    "SideLayer",
    "Status",
    "Transfer",
    "Transfers",
    "compare_sides",
    "read_side",
]
