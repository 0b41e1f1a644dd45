"""containerd, whose program gives a name again in two steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from nixdock.errors import ToolError
from nixdock.oci.reference import Reference
from nixdock.runtime.containerd import Containerd
from nixdock.runtime.program import Program

NAME = Reference.parse("me/app:v1")


def containerd(directory: Path, script: str) -> Containerd:
    program = directory / "ctr"
    program.write_text(f"#!/bin/sh\ncd {directory}; echo $* >>calls\n{script}\n")
    program.chmod(0o755)
    return Containerd("containerd", Program("ctr", (str(program),)))


@pytest.mark.parametrize("reason", ["already exists", "not found"])
def test_another_program_gives_the_same_name(tmp_path: Path, reason: str) -> None:
    runtime = containerd(
        tmp_path, f'[ -e again ] || {{ >again; echo ctr: image \\"x\\": {reason} >&2; exit 1; }}'
    )
    runtime.tag("a", NAME)
    line = "images tag --force a docker.io/me/app:v1\n"
    assert (tmp_path / "calls").read_text() == 2 * line


def test_a_name_that_can_not_be_given(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no space left"):
        containerd(tmp_path, "echo no space left >&2; exit 1").tag("a", NAME)
    assert (tmp_path / "calls").read_text().count("\n") == 1


def test_an_image_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="not found"):
        containerd(tmp_path, "echo a: not found >&2; exit 1").tag("a", NAME)
