"""Turn Nix closures into container images.

What stands in `__all__` is the public interface; all else may change. `nixdock.build` leads from
a spec to an image, `nixdock.closure` and `nixdock.layering` stand on their own.
"""

from nixdock.errors import (
    ClosureError,
    ImageError,
    InputError,
    NixdockError,
    OutputError,
    PackError,
    PlanError,
    SpecError,
)
from nixdock.store_path import Hash, StorePath

__all__ = [
    "ClosureError",
    "Hash",
    "ImageError",
    "InputError",
    "NixdockError",
    "OutputError",
    "PackError",
    "PlanError",
    "SpecError",
    "StorePath",
]
