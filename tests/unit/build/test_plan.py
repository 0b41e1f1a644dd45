"""Planning the layers of a spec."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

import nixdock

LIB, APP, OTHER, GONE = (
    f"/nix/store/{letter * 32}-{name}"
    for letter, name in zip("abcd", ("lib", "app", "other", "gone"), strict=True)
)


@pytest.mark.parametrize(
    ("volatile", "ignored"),
    [
        ([], []),
        ([APP], []),
        ([APP, OTHER], [OTHER]),
        ([OTHER, APP, GONE, GONE], [f"{OTHER} (and 2 more)"]),
    ],
)
def test_volatile_paths_that_are_not_planned_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, volatile: list[str], ignored: list[str]
) -> None:
    graph = [
        {"path": LIB, "narSize": 9, "references": []},
        {"path": APP, "narSize": 1, "references": [LIB]},
    ]
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    file = tmp_path / "spec.json"
    layering = {"volatile": volatile}
    closure = {"graph": "graph.json"}
    file.write_text(
        json.dumps({"version": 1, "name": "x", "closure": closure, "layering": layering})
    )
    with caplog.at_level(logging.WARNING):
        nixdock.resolve_spec(nixdock.read_spec(file))
    start = "ignoring volatile paths that are in the base image, or not in the closure: "
    assert caplog.messages == [f"{start}{text}" for text in ignored]
