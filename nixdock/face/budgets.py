"""Budgets of an update that has been compared: what may not be exceeded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nixdock.errors import InputError
from nixdock.policy.findings import PolicyReport
from nixdock.policy.policy import Policy, Rule
from nixdock.policy.sizes import size_findings, update_findings

if TYPE_CHECKING:
    from nixdock.diff.result import Diff

__all__ = ["check_diff"]

_OF_BLOBS = frozenset({Rule.MAX_SIZE, Rule.MAX_LAYER, Rule.MAX_LAYERS})
_OF_DIFFS = _OF_BLOBS | {Rule.MAX_UPDATE}


def check_diff(diff: Diff, policy: Policy) -> PolicyReport:
    """Return what breaks the rules for sizes, as `check_policy` does of the new image.

    `max_update` limits what the update transfers, by the NARs if the new side is a plan or graph.
    Raise InputError for rules that a comparison can't check: all but those for sizes and layers,
    and of a plan or graph, which has no blobs, all but `max_update`.
    """
    rules = frozenset(policy.rules())
    if other := sorted(rules - _OF_DIFFS):
        raise InputError(f"{', '.join(other)} can't be checked by a comparison", key=other[0])
    unfit = [rule for rule in Rule if rule in rules & _OF_BLOBS]
    if unfit and not diff.new.kind.has_blobs:
        raise InputError(
            f"{diff.new.origin}: a {diff.new.kind} has no blobs, so {', '.join(unfit)} can't be"
            " checked; compare the spec or the image",
            key=unfit[0],
        )
    findings = [*size_findings(policy, diff.new), *update_findings(policy, diff)]
    return PolicyReport.of(diff.new.origin, [*policy.rules()], findings)
