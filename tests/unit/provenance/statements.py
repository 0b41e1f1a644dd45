"""Checking statements with the readers of the in-toto project, which accept no unknown key."""

from __future__ import annotations

import importlib
import json
from typing import Any

from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement

__all__ = ["statement"]

_SLSA = "in_toto_attestation.predicates.provenance.v1.provenance_pb2"
_STATEMENT = "in_toto_attestation.v1.statement_pb2"


def statement(data: bytes) -> dict[str, Any]:
    """Return a statement, whose predicate is a SLSA provenance and which the readers accept."""
    proto = json_format.Parse(data.decode(), importlib.import_module(_STATEMENT).Statement())
    Statement.copy_from_pb(proto).validate()
    document: dict[str, Any] = json.loads(data)
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    provenance = importlib.import_module(_SLSA).Provenance()
    json_format.Parse(json.dumps(document["predicate"]), provenance)
    # What SLSA requires.
    assert provenance.build_definition.build_type
    assert provenance.run_details.builder.id
    for each in provenance.build_definition.resolved_dependencies:
        assert each.uri or each.digest
    return document
