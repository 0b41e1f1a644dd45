"""Statements of in-toto, version 1, with a SLSA provenance, version 1, as predicate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, field

from nixdock.oci.descriptor import Blob, canonical_json, without_none
from nixdock.oci.digests import hex_of

__all__ = [
    "BUILD_TYPE",
    "IN_TOTO_MEDIA_TYPE",
    "PREDICATE_TYPE",
    "STATEMENT_TYPE",
    "UNKNOWN_BUILDER",
    "Builder",
    "Material",
    "in_toto_statement",
    "provenance_statement",
]

IN_TOTO_MEDIA_TYPE: Final = "application/vnd.in-toto+json"
"""A statement."""

PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
"""What the statement states."""

BUILD_TYPE: Final = "https://nixdock.dev/build-types/image/v1"
"""How to read the parameters; see docs/attaching.md."""

UNKNOWN_BUILDER: Final = "https://nixdock.dev/builders/unknown"
"""The builder if nobody has said which it is."""

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
"""The type of a statement."""


class Material(Struct, frozen=True):
    """Something that went into an image: a ResourceDescriptor of in-toto.

    `digest` is by algorithm, in hexadecimal digits.
    """

    name: str
    uri: str | None = None
    digest: Mapping[str, str] = field(default_factory=dict)
    media_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return without_none(
            {
                "name": self.name,
                "uri": self.uri,
                "digest": dict(self.digest) or None,
                "mediaType": self.media_type,
                "annotations": dict(self.annotations) or None,
            }
        )


class Builder(Struct, frozen=True):
    """What built an image: a URI, and the versions of programs by their names."""

    id: str
    versions: Mapping[str, str]


def provenance_statement(
    names: Iterable[str],
    digest: str,
    parameters: Mapping[str, Any],
    materials: Sequence[Material],
    builder: Builder,
    *,
    system: str | None = None,
) -> Blob:
    """Return the statement that an image, by all its names, was built in that way.

    `parameters` are the keys of its spec. The same arguments give the same bytes: when the build
    was is not stated.
    """
    definition: dict[str, Any] = {
        "buildType": BUILD_TYPE,
        "externalParameters": {"spec": dict(parameters)},
        "resolvedDependencies": [each.document() for each in materials],
    }
    if system is not None:
        definition["internalParameters"] = {"system": system}
    predicate = {
        "buildDefinition": definition,
        "runDetails": {"builder": {"id": builder.id, "version": dict(builder.versions)}},
    }
    return in_toto_statement(names, digest, PREDICATE_TYPE, predicate)


def in_toto_statement(
    names: Iterable[str], digest: str, predicate_type: str, predicate: Mapping[str, Any]
) -> Blob:
    """Return the statement that a predicate is true of the image with a digest."""
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": hex_of(digest)}} for name in names],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }
    return Blob(IN_TOTO_MEDIA_TYPE, canonical_json(statement))
