"""Scripts on systems that forbid user namespaces, and scripts that the user interrupts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.command import wait_until

pytestmark = pytest.mark.runtime


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("user.max_user_namespaces", "sysctl: user.max_user_namespaces is 0"),
        ("user.max_mnt_namespaces", "in a container, at its seccomp profile"),
    ],
)
def test_the_error_says_which_setting_it_is(tmp_path: Path, setting: str, message: str) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"version": 1, "name": "x", "run_as_root": ":"}))
    (tmp_path / "tree/bin").mkdir(parents=True)
    (tmp_path / "tree/bin/sh").touch()
    document = json.loads(spec.read_text()) | {"contents": [str(tmp_path / "tree")]}
    spec.write_text(json.dumps(document | {"copy_contents": True}))
    # Each user namespace has its own values of these settings.
    forbid = f'echo 0 > /proc/sys/{setting.replace(".", "/")} && exec "$@"'
    done = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"),
            *(sys.executable, "-m", "nixdock", "top-layer", str(spec), "-o", str(tmp_path / "o")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "run_as_root: the system allows no user namespace" in done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("key", ["fake_root_commands", "run_as_root"])
def test_an_interrupt_ends_the_script(tmp_path: Path, key: str) -> None:
    shell = shutil.which("busybox")
    assert shell is not None, "install busybox-static"
    (tmp_path / "tree/bin").mkdir(parents=True)
    shutil.copy(shell, tmp_path / "tree/bin/sh")
    mark = f"script of {tmp_path}"
    spec = tmp_path / "spec.json"
    spec.write_text(
        json.dumps(
            {
                "version": 1,
                "name": "x",
                "contents": [str(tmp_path / "tree")],
                "copy_contents": True,
                key: f"/bin/sh -c 'while :; do sleep 1; done' '{mark}'",
            }
        )
    )
    command = [sys.executable, "-m", "nixdock", "top-layer", str(spec), "-o", str(tmp_path / "o")]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            wait_until(lambda: bool(with_argument(mark)), timeout=60, what="the script runs")
            os.killpg(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    assert "Traceback" not in errors
    wait_until(lambda: not with_argument(mark), what="the script has ended")


def with_argument(argument: str) -> list[str]:
    """The IDs of the processes that have `argument` in their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if argument.encode() in arguments:
            found.append(process.name)
    return found
