"""Checking bills of materials with the official JSON schemas and with libraries that read them."""

from __future__ import annotations

import importlib.util
import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from nixdock import Bill, sbom_json

with warnings.catch_warnings():
    # What these libraries use is deprecated.
    warnings.simplefilter("ignore")
    from cyclonedx.model.bom import Bom
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document


def spdx(bill: Bill) -> dict[str, Any]:
    """Return the SPDX document of a bill, which the schema and spdx-tools accept."""
    document: dict[str, Any] = json.loads(sbom_json(bill, "spdx"))
    jsonschema.Draft7Validator(_spdx_schema()).validate(document)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = JsonLikeDictParser().parse(document)  # type: ignore[no-untyped-call]
        messages = validate_full_spdx_document(read)
    assert [message.validation_message for message in messages] == []
    assert len(read.packages) == len(document["packages"])
    return document


@cache
def _spdx_schema() -> Any:
    """Return the schema, which lib4sbom has as the SPDX project publishes it."""
    found = importlib.util.find_spec("lib4sbom")
    assert found is not None and found.origin is not None
    schema = json.loads((Path(found.origin).parent / "schemas/spdx/2.3-schema.json").read_text())
    assert schema["$id"] == "http://spdx.org/rdf/terms/2.3"
    return schema


def cyclonedx(bill: Bill) -> dict[str, Any]:
    """Return the CycloneDX document of a bill, which the schema and cyclonedx-python-lib accept."""
    data = sbom_json(bill, "cyclonedx")
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode())
    assert error is None, error
    document: dict[str, Any] = json.loads(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = Bom.from_json(document)  # type: ignore[attr-defined] # (a decorator adds it)
        read.validate()
    assert len(read.components) == len(document["components"])
    assert len(references(document)) == len(set(references(document)))
    return document


def references(document: dict[str, Any]) -> list[str]:
    """Return the reference of every component of a CycloneDX document."""
    found: list[str] = []
    waiting = [document["metadata"]["component"], *document["components"]]
    while waiting:
        component = waiting.pop()
        found.append(component["bom-ref"])
        waiting += component.get("components", [])
    return found
