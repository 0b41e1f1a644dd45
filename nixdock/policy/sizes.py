"""The rules for sizes and for the number of layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nixdock.policy.findings import Finding
from nixdock.policy.policy import Policy, Rule
from nixdock.system.text import counted, shown, size_text

if TYPE_CHECKING:
    from nixdock.diff.result import Diff
    from nixdock.diff.side import Side, SideLayer

__all__ = ["size_findings", "uncompressed_findings", "update_findings"]


def size_findings(policy: Policy, image: Side) -> Iterator[Finding]:
    """Yield what is too large, or too many, of an image as it is in a registry or file."""
    total = image.stored_size
    if policy.max_size is not None and total > policy.max_size:
        yield _too_large(Rule.MAX_SIZE, "the image", total, policy.max_size)
    count = len(image.layers)
    if policy.max_layers is not None and count > policy.max_layers:
        message = f"the image has {counted(count, 'layer')}, more than {policy.max_layers}"
        yield Finding(Rule.MAX_LAYERS, message, measured=count, limit=policy.max_layers)
    if policy.max_layer is not None:
        yield from _large_layers(image.layers, policy.max_layer)


def _large_layers(layers: Sequence[SideLayer], limit: int) -> Iterator[Finding]:
    for layer in layers:
        if layer.size > limit:
            comment = f" ({shown(layer.comment)})" if layer.comment else ""
            subject = f"layer {layer.number}{comment}"
            yield _too_large(Rule.MAX_LAYER, subject, layer.size, limit, (layer.number,))


def uncompressed_findings(policy: Policy, size: int, subject: str) -> Iterator[Finding]:
    """Yield a finding if the uncompressed layers, or the NARs of a closure, are too large."""
    if policy.max_uncompressed is not None and size > policy.max_uncompressed:
        yield _too_large(Rule.MAX_UNCOMPRESSED, subject, size, policy.max_uncompressed)


def update_findings(policy: Policy, diff: Diff) -> Iterator[Finding]:
    """Yield a finding if the update that `diff` describes transfers too much from a registry."""
    total = diff.transfers.registry.total
    if policy.max_update is not None and total > policy.max_update:
        fetched = tuple(layer.layer.number for layer in diff.layers if layer.fetched)
        subject = f"an update from {shown(diff.old.origin)}"
        yield _too_large(Rule.MAX_UPDATE, subject, total, policy.max_update, fetched)


def _too_large(
    rule: Rule, subject: str, size: int, limit: int, layers: tuple[int, ...] = ()
) -> Finding:
    verb = "transfers" if rule is Rule.MAX_UPDATE else "has"
    message = f"{subject} {verb} {size_text(size)} ({size} bytes), more than {size_text(limit)}"
    return Finding(rule, message, layers=layers, measured=size, limit=limit)
