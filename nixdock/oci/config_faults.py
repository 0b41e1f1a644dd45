"""Faults of an image's config that make skopeo, Podman and other tools written in Go refuse it."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from nixdock.oci.documents import ConfigDocument
from nixdock.system.text import shown

__all__ = ["ConfigFault", "config_faults", "is_time"]

# Go's form of RFC 3339: T and Z are in upper case, and there are no leap seconds.
_TIME: Final = re.compile(
    r"([0-9]{4})-(0[1-9]|1[0-2])-([0-9]{2})T(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}(?:\.[0-9]+)?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])",
    re.ASCII,
)

# Go takes null for every value.
_TEXT: Final = str | None
_FLAG: Final = bool | None
_NUMBER: Final = int | None
_LIST: Final = list[str | None] | None
_SET: Final = dict[str, dict[str, Any] | None] | None
_OBJECT: Final = dict[str, Any] | None

# By the key in lower case, because Go ignores the case of keys.
_HEALTHCHECK: Final[Mapping[str, Any]] = {
    "test": _LIST,
    "interval": _NUMBER,
    "timeout": _NUMBER,
    "startperiod": _NUMBER,
    "retries": _NUMBER,
}
_CONTAINER: Final[Mapping[str, Any]] = {
    "hostname": _TEXT,
    "domainname": _TEXT,
    "user": _TEXT,
    "attachstdin": _FLAG,
    "attachstdout": _FLAG,
    "attachstderr": _FLAG,
    "exposedports": _SET,
    "tty": _FLAG,
    "openstdin": _FLAG,
    "stdinonce": _FLAG,
    "env": _LIST,
    "cmd": _LIST,
    "healthcheck": _OBJECT,
    "argsescaped": _FLAG,
    "image": _TEXT,
    "volumes": _SET,
    "workingdir": _TEXT,
    "entrypoint": _LIST,
    "networkdisabled": _FLAG,
    "macaddress": _TEXT,
    "onbuild": _LIST,
    "labels": dict[str, str | None] | None,
    "stopsignal": _TEXT,
    "stoptimeout": _NUMBER,
}


class ConfigFault(NamedTuple):
    """A fault: the key of the wrong value in the config, and a message that begins with it."""

    key: str
    message: str


def config_faults(config: ConfigDocument) -> Iterator[ConfigFault]:
    """Yield what other tools refuse in `config`: times, and types in its `config` object."""
    yield from _time_faults("created", config.created)
    for i, entry in enumerate(config.history or []):
        yield from _time_faults(f"history[{i}].created", entry.created)
    yield from _type_faults("config", config.config or {}, _CONTAINER)


def is_time(text: str) -> bool:
    """Tell whether `text` is a time in RFC 3339 as Go parses it, on a day of the calendar."""
    match = _TIME.fullmatch(text)
    if match is None:
        return False
    year, month, day = (int(match[i]) for i in (1, 2, 3))
    return 1 <= day <= calendar.monthrange(year, month)[1]


def _time_faults(key: str, text: str | None) -> Iterator[ConfigFault]:
    if text is not None and not is_time(text):
        yield ConfigFault(
            key, f"{key} is {shown(text)!r}, which is not a time in the form of RFC 3339"
        )


def _type_faults(
    parent: str, values: Mapping[str, Any], types: Mapping[str, Any]
) -> Iterator[ConfigFault]:
    for name, value in values.items():
        lower = name.lower()
        if lower not in types:
            continue
        key = f"{parent}.{shown(name)}"
        try:
            msgspec.convert(value, types[lower])
        except msgspec.ValidationError as error:
            # msgspec's form is "MESSAGE - at `$.KEY`".
            message, _, path = str(error).partition(" - at `$")
            key = shown(key + path.rstrip("`"))
            yield ConfigFault(key, f"{key} has the wrong type: {message}")
            continue
        if lower == "healthcheck":
            yield from _type_faults(key, value or {}, _HEALTHCHECK)
