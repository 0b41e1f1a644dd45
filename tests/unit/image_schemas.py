"""Checking documents of images with the image-spec's own schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

__all__ = ["SCHEMAS", "schema_errors"]

SCHEMAS = Path(__file__).parents[1] / "data/image-spec"


def schema_errors(name: str, document: Any) -> list[str]:
    """What the image-spec's own schema finds wrong with a document."""

    def retrieve(uri: str) -> Resource[Any]:
        text = (SCHEMAS / uri.rpartition("/")[2]).read_text()
        return Resource.from_contents(json.loads(text), default_specification=DRAFT4)

    registry: Registry[Any] = Registry(retrieve=retrieve)  # type: ignore[call-arg]
    schema = json.loads((SCHEMAS / name).read_text())
    checker = jsonschema.Draft4Validator(schema, registry=registry)
    return [error.message for error in checker.iter_errors(document)]
