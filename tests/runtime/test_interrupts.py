"""Interrupted loads leave nothing: no names, files, processes, leases or parts of layers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest

from .command import wait_until
from .home import Home, left_behind, started
from .registry import Registry
from .target import Target
from .wire import Wire, wire_to

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("containers")]

NAME = "test/no:v1"
SIZE = 16 << 20


@pytest.fixture
def wire(registry: Registry) -> Iterator[Wire]:
    with wire_to(registry.reference("any").partition("/")[0]) as wire:
        yield wire


@contextmanager
def stuck(home: Home, wire: Wire, target: Target, location: str) -> Iterator[Popen[str]]:
    """Load an image until one of its layers does not get on."""
    words = ("load", "-q", location, "--into", target.name, "--tag", NAME)
    with wire.held_at(SIZE // 2), started(home, *words, env=in_path(home, target)) as process:
        wait_until(lambda: wire.bytes >= wire.most, timeout=60, what="half of the layer")
        yield process


def check_interrupted(process: Popen[str], home: Home, target: Target, status: int) -> None:
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (status, ""), err
    assert left_behind(home) == []
    # containerd collects its garbage a moment later.
    wait_until(lambda: not target.passing(), what="the end of all that was there for the moment")
    assert "test/no" not in target.names()


def test_a_terminal_interrupts_a_stream_and_a_pull(
    home: Home, registry: Registry, repository: str, wire: Wire, target: Target
) -> None:
    """The runtime's own program may get the signals, too."""
    reference = registry.reference(repository, "v1")
    home("push", "-q", home.spec("interrupted", SIZE), reference, env=os.environ)
    location = f"docker://{wire.address}/{reference.partition('/')[2]}"
    program = install(home, target, 'case " $* " in *" pull "*) exit 1 ;; esac')
    for _ in ("a stream, because it can't pull", "a pull"):
        with stuck(home, wire, target, location) as process:
            os.killpg(process.pid, signal.SIGINT)
            check_interrupted(process, home, target, 130)
        program.unlink(missing_ok=True)
    home("load", "-q", location, "--into", target.name, "--tag", "test/yes:v1", env=target.env)
    assert target.passing() == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_has_been_pulled_goes_again(
    home: Home, target: Target, number: signal.Signals
) -> None:
    pulled, end = home.directory / "pulled", home.directory / "end"
    wait = f"while [ ! -e {end} ]; do sleep 0.1; done; exit 1"
    install(
        home, target, f'case " $* " in *" pull "*) {target.program} "$@"; >{pulled}; {wait} ;; esac'
    )
    words = ("load", "-q", home.spec("pulled"), "--into", target.name, "--tag", NAME)
    with started(home, *words, env=in_path(home, target)) as process:
        wait_until(pulled.exists, timeout=60, what="the pull")
        process.send_signal(number)
        end.touch()
        check_interrupted(process, home, target, 128 + number)


def install(home: Home, target: Target, script: str) -> Path:
    """Put a script before the runtime's program."""
    program = home.directory / "bin" / Path(target.program).name
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n{script}\nexec {target.program} "$@"\n')
    program.chmod(0o755)
    return program


def in_path(home: Home, target: Target) -> dict[str, str]:
    return {**target.env, "PATH": f"{home.directory}/bin:{target.env['PATH']}"}
