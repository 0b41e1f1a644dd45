"""Values in the `config` object of a spec that have the right type, but that no runtime can use.

Some runtimes ignore such a value, others refuse to start the container, and a health check without
a command ends the daemon of Docker 20.10.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from nixdock.oci.container_config import ContainerConfig, Healthcheck

__all__ = ["ValueFault", "value_faults"]

_PORTS: Final = re.compile(
    r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(?:tcp|udp|sctp))?", re.ASCII | re.IGNORECASE
)
_MOST_PORT: Final = 65_535
_COMMANDS: Final = ("CMD", "CMD-SHELL")
# What Docker's API takes at least for a time in nanoseconds, apart from 0, which stands for none.
_LEAST_TIME: Final = 1_000_000
_SECOND: Final = 1_000_000_000
_TIMES: Final = ("Interval", "Timeout", "StartPeriod", "StartInterval")
_SIGNAL: Final = re.compile(
    r"""
    [1-9] | [1-5][0-9] | 6[0-4]
    | (SIG)? ( ABRT | ALRM | BUS | CHLD | CLD | CONT | FPE | HUP | ILL | INT | IOT? | KILL | PIPE
             | POLL | PROF | PWR | QUIT | SEGV | STKFLT | STOP | SYS | TERM | TRAP | TSTP | TTIN
             | TTOU | URG | USR[12] | VTALRM | WINCH | XCPU | XFSZ
             | RTMIN ([+] ([0-9] | [12][0-9] | 30))?
             | RTMAX (-   ([0-9] | [12][0-9] | 30))? )
    """,
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


class ValueFault(NamedTuple):
    """A fault: the key of the wrong value in the config, and a message about the value."""

    key: str
    message: str


def value_faults(config: ContainerConfig) -> Iterator[ValueFault]:
    """Yield what is wrong with the values of a config."""
    for port in config.ExposedPorts or {}:
        if not _is_port(port):
            message = f'{port!r} is not a port, such as "80", "80/tcp", "53/udp" or "8000-8010/tcp"'
            yield ValueFault("ExposedPorts", message)
    for variable in config.Env or []:
        if not variable.partition("=")[0]:
            message = f"{variable!r} has no name; write NAME=VALUE"
            yield ValueFault("Env", message)
    for volume in config.Volumes or {}:
        if posixpath.normpath(f"/{volume}").strip("/") == "":
            message = f"{volume!r} would hide all files of the image; name a directory below it"
            yield ValueFault("Volumes", message)
    directory = config.WorkingDir
    if directory and not directory.startswith("/"):
        message = f"{directory!r} is not an absolute path; write /{directory}"
        yield ValueFault("WorkingDir", message)
    if config.StopSignal and not _SIGNAL.fullmatch(config.StopSignal):
        message = f"{config.StopSignal!r} is not a signal, such as SIGTERM, SIGRTMIN+3 or 15"
        yield ValueFault("StopSignal", message)
    if config.Healthcheck is not None:
        yield from _healthcheck_faults(config.Healthcheck)


def _is_port(text: str) -> bool:
    match = _PORTS.fullmatch(text)
    if match is None:
        return False
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    return 1 <= first <= last <= _MOST_PORT


def _healthcheck_faults(check: Healthcheck) -> Iterator[ValueFault]:
    test = check.Test or ["NONE"]
    if test[0] not in {"NONE", *_COMMANDS}:
        message = (
            f'it begins with {test[0]!r}, not with "CMD", before a program and its arguments,'
            ' "CMD-SHELL", before the text of a script, or "NONE"'
        )
        yield ValueFault("Healthcheck.Test", message)
    elif test[0] in _COMMANDS and not "".join(test[1:]).strip():
        message = f"there is no command after {test[0]!r}"
        yield ValueFault("Healthcheck.Test", message)
    for key in _TIMES:
        time = getattr(check, key)
        if time and time < _LEAST_TIME:
            message = f"{time} is less than a millisecond: times are in nanoseconds"
            if time > 0:
                message += f", so that {time} seconds are {time * _SECOND}"
            yield ValueFault(f"Healthcheck.{key}", message)
    if check.Retries is not None and check.Retries < 0:
        yield ValueFault("Healthcheck.Retries", f"{check.Retries} is less than 0")
