"""Values in the `config` object of a spec that have the right type, but that no runtime can use.

Some runtimes ignore such a value, others refuse to start the container, and a health check without
a command ends the daemon of Docker 20.10.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Final, NamedTuple

from nixdock.oci.container_config import ContainerConfig, Healthcheck

__all__ = ["ValueFault", "value_faults"]

_PROTOCOLS: Final = frozenset({"tcp", "udp", "sctp"})
_MOST_PORT: Final = 65_535
_MOST_DIGITS: Final = 5
_COMMANDS: Final = ("CMD", "CMD-SHELL")
# What Docker's API takes at least for a time in nanoseconds, apart from 0, which stands for none.
_LEAST_TIME: Final = 1_000_000
_SECOND: Final = 1_000_000_000
_TIMES: Final = ("Interval", "Timeout", "StartPeriod", "StartInterval")
_SIGNALS: Final = """
ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT RTMAX RTMIN SEGV
STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ
"""
_MOST_SIGNAL: Final = 64
# How far from the first and from the last one Docker and Podman name real-time signals.
_MOST_OFFSETS: Final = {"RTMIN+": 15, "RTMAX-": 14}


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
    if config.StopSignal and not _is_signal(config.StopSignal):
        message = f"{config.StopSignal!r} is not a signal, such as SIGTERM, SIGRTMIN+3 or 15"
        yield ValueFault("StopSignal", message)
    if config.Healthcheck is not None:
        yield from _healthcheck_faults(config.Healthcheck)


def _is_port(text: str) -> bool:
    ports, slash, protocol = text.partition("/")
    first, dash, last = ports.partition("-")
    numbers = [_number(number) for number in ([first, last] if dash else [first])]
    is_known = not slash or protocol.lower() in _PROTOCOLS
    return is_known and 1 <= numbers[0] <= numbers[-1] <= _MOST_PORT


def _is_signal(text: str) -> bool:
    if text.isdecimal():
        return 1 <= _number(text) <= _MOST_SIGNAL and not text.startswith("0")
    name = text.upper().removeprefix("SIG") if text.isascii() else ""
    for start, most in _MOST_OFFSETS.items():
        if name.startswith(start):
            offset = name.removeprefix(start)
            return 1 <= _number(offset) <= most and offset == str(_number(offset))
    return name in _SIGNALS.split()


def _number(text: str) -> int:
    """Return a number of a few digits, or -1 if the text is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else -1


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
