"""Scripts on systems that forbid user namespaces, and scripts that the user interrupts."""

from __future__ import annotations

import codecs
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from nixdock.rootfs.rootless import enter
from nixdock.rootfs.rootless.failure import EnterError
from tests.runtime.command import wait_until

pytestmark = pytest.mark.runtime

# linux/prctl.h
PR_SET_DUMPABLE = 4


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


@pytest.mark.parametrize("refused", ["", "enter_user_namespace", "keep_mounts_private"])
def test_a_script_without_a_root_of_its_own_can_not_change_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    """Where the system allows no mounts, it has no more rights than the user."""
    user = os.getuid() or 1001
    store, tree = tmp_path / "store", tmp_path / "tree"
    for directory, mode in ((store, 0o555), (tree, 0o755)):
        directory.mkdir()
        (directory / "file").write_text("original")
        (directory / "file").chmod(0o444)
        os.chown(directory / "file", user, user)
        os.chown(directory, user, user)
        directory.chmod(mode)
    for directory in (tmp_path, *tmp_path.parents):
        if directory.owner() == "root" and str(directory).startswith("/tmp/"):
            directory.chmod(directory.stat().st_mode | 0o055)
    allowed = getattr(enter, refused or "bind")

    def refuse(*arguments: object) -> None:
        if arguments and arguments[0] == 0:
            allowed(*arguments)
            return
        raise EnterError("refused")

    if refused:
        monkeypatch.setattr(enter, refused, refuse)
    # The user may not be able to read Python's own files.
    codecs.lookup("ascii")
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
                # After that, /proc/self would be root's.
                ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
            mounts = [(str(store), str(store), True, True)]
            enter._become_root({"mounts": mounts}, (user, user))
            script = "id -u; echo changed > $0/file; rm -f $0/file; echo new > $1/new"
            os.execv("/bin/sh", ["sh", "-c", script, str(store), str(tree)])
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(125)
    os.close(writer)
    with os.fdopen(reader) as stream:
        output = stream.read()
    os.waitpid(child, 0)
    assert output.startswith("0\n"), "it is root to itself"
    assert (store / "file").read_text() == "original"
    assert output.count("Permission denied" if refused else "Read-only file system") == 2
    assert (tree / "new").read_text() == "new\n"


def test_a_script_in_a_nix_build_finds_the_store_read_only(tmp_path: Path) -> None:
    """Also that of root, whom no user namespace holds back."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "file").write_text("original")
    spec = tmp_path / "spec.json"
    document = {"version": 1, "name": "x", "store": {"directory": str(store)}}
    spec.write_text(json.dumps({**document, "fake_root_commands": f"echo changed > {store}/file"}))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "nixdock", "top-layer", str(spec)),
            *("-o", str(tmp_path / "out"), "--in-nix-build"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert (store / "file").read_text() == "original"


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
