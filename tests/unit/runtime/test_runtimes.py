"""Runtimes whose daemon does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from nixdock.errors import ToolError
from nixdock.runtime import runtimes
from nixdock.runtime.runtimes import find_runtime


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, which is PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.delenv("CONTAINERD_ADDRESS", raising=False)
    return directory


def install(programs: Path, name: str, script: str) -> None:
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)


def message(name: str) -> str:
    with pytest.raises(ToolError) as caught:
        find_runtime(name)
    return str(caught.value)


ROOT = ", where often only root may. CONTAINERD_ADDRESS says where it listens"


@pytest.mark.parametrize(
    ("runtime", "program", "hint"),
    [
        (
            "containerd",
            "ctr",
            f"is containerd running? It was asked at /run/containerd/containerd.sock{ROOT}",
        ),
        (
            "k3s",
            "k3s",
            f"is k3s running? It was asked at /run/k3s/containerd/containerd.sock{ROOT}",
        ),
        (
            "nerdctl",
            "nerdctl",
            "is containerd running? CONTAINERD_ADDRESS says where it listens",
        ),
    ],
)
def test_a_containerd_that_does_not_answer(
    programs: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, program: str, hint: str
) -> None:
    """ctr waits for ten seconds, and so says nothing in that time."""
    install(programs, program, "echo no connection >&2; exit 1")
    name = "k3s ctr" if program == "k3s" else program
    assert message(runtime) == f"{name} version failed: no connection; {hint}"
    install(programs, program, "exec /bin/sleep 60")
    monkeypatch.setattr(runtimes, "_ANSWER_SECONDS", 0.2)
    assert message(runtime).endswith(f" took longer than 0.2 seconds; {hint}")
    monkeypatch.setenv("CONTAINERD_ADDRESS", "/else/where.sock")
    assert f"It was asked at /else/where.sock{ROOT}" in message(runtime)
