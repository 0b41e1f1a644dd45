"""Processes that load one image take turns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nixdock.oci.digests import sha256_digest
from nixdock.runtime.turns import turn

ONE, OTHER = sha256_digest(b"one"), sha256_digest(b"other")
TURN = "import sys; from nixdock.runtime.turns import turn\nwith turn(sys.argv[1]): print('mine')"


def start(image: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TURN, image], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )


def test_one_process_at_a_time_has_the_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with turn(ONE), start(ONE) as same, start(OTHER) as other:
        # Another image has turns of its own.
        assert other.communicate()[0] == "mine\n"
        with pytest.raises(subprocess.TimeoutExpired):
            same.wait(0.2)
        same.kill()
    with start(ONE) as same:
        assert same.communicate()[0] == "mine\n"
    assert (tmp_path / "nixdock/loads.lock").stat().st_size == 0


@pytest.mark.parametrize("place", ["", "file"])
def test_nobody_waits_without_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place) if place else "")
    monkeypatch.delenv("HOME")
    with turn(ONE):
        pass
