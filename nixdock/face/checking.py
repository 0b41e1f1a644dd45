"""Checking closures, specs and images against policies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nixdock.errors import InputError
from nixdock.face.policy_check import PolicyCheck
from nixdock.policy.findings import PolicyReport
from nixdock.policy.policy import Policy, Rule

if TYPE_CHECKING:
    from nixdock.face.describing import Describing
    from nixdock.layers.progress import Progress
    from nixdock.nix.closure import Closure
    from nixdock.oci.location import Place
    from nixdock.registry.access import Access
    from nixdock.spec.image_spec import ImageSpec

__all__ = ["check_policy", "sarif_json"]


def check_policy(
    source: Closure | ImageSpec | Place,
    policy: Policy,
    *,
    against: Place | None = None,
    meta: str | os.PathLike[str] | None = None,
    platform: str | None = None,
    progress: Progress | None = None,
    access: Access | None = None,
    describing: Describing | None = None,
) -> PolicyReport:
    """Return everything in a closure, a spec, or what is at a place, that breaks `policy`.

    The source, `meta` and `platform` are those of `list_packages`. `against` is the image that the
    new one replaces, for `max_update`. A spec stands for the image that `build_image` would write,
    or `push_image` send in place of `against`; `describing` says what is known of its layers, and
    how scripts are confined. A closure has no layers: of it, NARs are the uncompressed size, and
    store paths are the paths; other rules for sizes and for files are errors.

    Of an index, all images are checked, each for itself, whatever the index says of them; with
    `platform`, those for it. Each is compared with the image of `against` for the same platform.

    What need not be read for the rules is not: of an image, sizes alone take only its documents.
    `progress` is told how much of each layer has been read or packed.

    Raise InputError or one of its subclasses if the policy is not valid or has a rule that can't be
    checked, and what `list_packages`, `inspect_image` and `build_image` raise.
    """
    from nixdock.face.sources import read_source
    from nixdock.nix.closure import Closure
    from nixdock.oci.location import location_of, location_text
    from nixdock.policy.patterns import Patterns
    from nixdock.spec.image_spec import ImageSpec

    rules = frozenset(policy.rules())
    if not rules:
        raise InputError("the policy has no rules, so nothing could break it")
    if (Rule.MAX_UPDATE in rules) is (against is None):
        raise InputError(
            f"{Rule.MAX_UPDATE}, the limit for an update, and the image that is updated belong"
            " together",
            key=Rule.MAX_UPDATE,
        )
    if meta is not None and not rules & {Rule.DENY_LICENSE, Rule.DENY_UNKNOWN_LICENSE}:
        raise InputError(
            f"no rule is about licences, for which {os.fspath(meta)} would be read", key="meta"
        )
    if not all(text.strip() for text in policy.denied_licenses):
        raise InputError(
            f"a licence of {Rule.DENY_LICENSE} is empty, so it would deny nothing",
            key=Rule.DENY_LICENSE,
        )
    # Before anything is read.
    Patterns.of((*policy.denied_paths, *policy.allowed_setuid))
    place = None if against is None else location_of(against)
    file = None if meta is None else Path(meta)
    check = PolicyCheck(policy, rules, place, file, platform, progress, access, describing)
    if isinstance(source, Closure):
        return check.of_closure(source, "the closure")
    if isinstance(source, ImageSpec):
        return check.of_spec(source, str(source.references[0]))
    location = location_of(source)
    origin = location_text(location)
    match read_source(location):
        case Closure() as closure:
            return check.of_closure(closure, origin)
        case ImageSpec() as spec:
            return check.of_spec(spec, origin)
        case _:
            return check.of_image(location, origin)


def sarif_json(report: PolicyReport) -> bytes:
    """Return a report as SARIF 2.1.0; the same report gives the same bytes."""
    from nixdock.policy.sarif import sarif_document
    from nixdock.system.json_text import json_text

    return json_text(sarif_document(report))
