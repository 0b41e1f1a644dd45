"""The annotations of an image that is built: what its spec states, and what is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nixdock.oci.image import Annotations
from nixdock.oci.registry_reference import RegistryReference
from nixdock.spec.annotations import STANDARD, spec_annotations
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.times import CONSTANT, rfc3339

if TYPE_CHECKING:
    from nixdock.rootfs.base_image import BaseImage

__all__ = ["annotations_of"]

# Times that stand for none: 1970, as in a Nix store, and 1980, which stdenv sets, because some
# archives know nothing earlier.
_NO_TIMES: Final = frozenset({0, CONSTANT, 315532800})


def annotations_of(spec: ImageSpec, base: BaseImage | None, created: int) -> Annotations:
    """Return the annotations of the image of `spec`, which is created at `created`, in seconds.

    Those of the image-spec are filled in from the time, the base image and the spec;
    `spec.annotations` count most.
    """
    known: dict[str, str] = {}
    if spec.default_annotations:
        if created not in _NO_TIMES:
            known[f"{STANDARD}created"] = rfc3339(created)
        if base is not None:
            known |= _of_base(base, None if spec.from_image is None else spec.from_image.reference)
        known |= spec_annotations(spec)
    return Annotations({**known, **spec.annotations}, spec.layer_annotations)


def _of_base(base: BaseImage, stated: str | None) -> dict[str, str]:
    """Return what is known of a base image; a file does not tell where it comes from."""
    reference = base.pinned
    if reference is None and stated is not None:
        reference = RegistryReference.parse(stated)
    digest = base.digest or (None if reference is None else reference.digest)
    known = {}
    if reference is not None:
        # With a tag, whoever looks there finds out whether there is a newer one.
        name = f"{reference.name}:{reference.tag}" if reference.tag else str(reference)
        known[f"{STANDARD}base.name"] = name
    if digest is not None:
        known[f"{STANDARD}base.digest"] = digest
    return known
