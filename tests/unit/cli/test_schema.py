"""`nixdock schema`."""

from __future__ import annotations

import json
import subprocess
from importlib.resources import files

import jsonschema
import pytest

from tests.unit.cli.program import run_text


def schema(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_text("schema", *arguments)


def test_the_checked_in_schema_is_printed() -> None:
    done = schema()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("}\n")
    document = json.loads(done.stdout)
    assert done.stdout == files("nixdock").joinpath("spec/image-spec-1.json").read_text()
    jsonschema.Draft202012Validator.check_schema(document)
    validator = jsonschema.Draft202012Validator(document)
    validator.validate({"version": 1, "name": "x", "closure": {"graph": "g"}})
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"version": 2, "name": "x"})


def test_no_arguments_are_accepted() -> None:
    done = schema("1")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert not done.stdout
