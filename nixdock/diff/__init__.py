"""Comparing two images, or what is planned of them: what an update transfers, and why.

::

    diff = compare(read_side(Path("old.tar")), read_side(Path("new.plan.json")))
    diff.transfers.registry.total
"""

from nixdock.diff.compare import compare
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
from nixdock.diff.side import Document, Kind, Side, SideLayer
from nixdock.diff.source import Planning, read_side

__all__ = [
    "Change",
    "Diff",
    "Document",
    "GoneLayer",
    "Kind",
    "NewLayer",
    "PathStatus",
    "Planning",
    "Side",
    "SideLayer",
    "Status",
    "Transfer",
    "Transfers",
    "compare",
    "read_side",
]
