"""Other previous images than those that a spec names."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from nixdock.errors import SpecError
from nixdock.spec.image_spec import ImageSpec

__all__ = ["with_previous"]


def with_previous(spec: ImageSpec, previous: Sequence[str]) -> ImageSpec:
    """Return the spec with the plan files and images at the locations `previous`, if there are any.

    They take the place of its own. Raise SpecError if the spec can't have previous images.
    """
    if not previous:
        return spec
    if spec.planned_closure is None:
        raise SpecError("previous images are for a spec whose layers are not yet planned")
    if "stable" not in spec.layering.strategies:
        raise SpecError("previous images are for the layering strategy stable")
    layering = msgspec.structs.replace(spec.layering, previous=[*previous])
    return msgspec.structs.replace(spec, layering=layering)
