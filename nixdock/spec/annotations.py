"""Annotations that follow from a spec alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from nixdock.spec.config_checks import checked_config
from nixdock.spec.image_spec import ImageSpec

__all__ = ["STANDARD", "spec_annotations", "with_own_annotations"]

STANDARD: Final = "org.opencontainers.image."
"""The start of the keys that the image-spec defines (annotations.md)."""

# What is a version rather than a word, such as `latest`, or the hash of a commit or store path.
_VERSION: Final = re.compile(r"v?[0-9]+(?:(?:\.[0-9]+)+[A-Za-z0-9._-]*|(?:[-._].*)?)", re.ASCII)


def spec_annotations(spec: ImageSpec) -> dict[str, str]:
    """Return the annotations of the image-spec that name, tag, provenance and labels tell.

    Labels, which the spec states itself, count most.
    """
    reference = spec.references[0]
    known = {f"{STANDARD}title": reference.repository.rpartition("/")[2]}
    if _VERSION.fullmatch(reference.tag):
        known[f"{STANDARD}version"] = reference.tag
    if spec.provenance is not None and spec.provenance.revision is not None:
        known[f"{STANDARD}revision"] = spec.provenance.revision
    labels: Mapping[str, str] = {**(checked_config(spec.config)[0].Labels or {}), **spec.labels}
    return known | {key: text for key, text in labels.items() if key.startswith(STANDARD)}


def with_own_annotations(spec: ImageSpec) -> ImageSpec:
    """Return the spec with these annotations, so that another name does not change them."""
    if not spec.default_annotations:
        return spec
    annotations = {**spec_annotations(spec), **spec.annotations}
    return msgspec.structs.replace(spec, annotations=annotations)
