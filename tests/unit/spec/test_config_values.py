"""Values of a config that no runtime can use are errors that say what to write."""

from __future__ import annotations

from typing import Any

import pytest

from nixdock.errors import SpecError
from nixdock.spec.config_checks import checked_config

MINUTE = 60_000_000_000


def health(**fields: Any) -> dict[str, Any]:
    return {"Healthcheck": fields}


@pytest.mark.parametrize(
    "config",
    [
        {
            "ExposedPorts": {
                port: {} for port in ("80", "80/tcp", "53/UDP", "9/sctp", "1-65535/tcp")
            }
        },
        {"Env": ["A=1", "A=", "B", "C==", "D=1\n2"]},
        {"Volumes": {"/data": {}, "relative": {}, "/a/../b": {}}},
        {"WorkingDir": "/srv"},
        {"WorkingDir": ""},
        *(
            {"StopSignal": text}
            for text in (
                "",
                "SIGTERM",
                "int",
                "9",
                "64",
                "SIGRTMIN+3",
                "RTMIN+15",
                "RTMAX-1",
                "RTMAX-14",
            )
        ),
        health(),
        health(Test=[]),
        health(Test=["NONE"]),
        health(Test=["CMD", "curl", "-f", "http://localhost"]),
        health(Test=["CMD-SHELL", "curl -f http://localhost || exit 1"]),
        health(Interval=MINUTE, Timeout=1_000_000, StartPeriod=0, StartInterval=None, Retries=0),
    ],
)
def test_values_that_runtimes_take(config: dict[str, Any]) -> None:
    checked_config(config)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        *(
            ({"ExposedPorts": {"443/tcp": {}, port: {}}}, f"ExposedPorts: {port!r} is not a port, ")
            for port in ("", "http", "80:80", "80/http", "0", "65536", "9-8", "٨٠", "80/tcp\n")
        ),
        ({"Env": ["A=1", ""]}, "Env: '' has no name; write NAME=VALUE"),
        ({"env": ["=1"]}, "Env: '=1' has no name; write NAME=VALUE"),
        ({"Volumes": {"/": {}}}, "Volumes: '/' would hide all files of the image; name a "),
        ({"Volumes": {"": {}}}, "Volumes: '' would hide all files"),
        ({"Volumes": {"/a/..": {}}}, "Volumes: '/a/..' would hide all files"),
        ({"WorkingDir": "srv/x"}, "WorkingDir: 'srv/x' is not an absolute path; write /srv/x"),
        *(
            ({"StopSignal": text}, f"StopSignal: {text!r} is not a signal, such as SIGTERM, ")
            for text in (
                "FOO",
                "0",
                "65",
                "99999",
                "SIGRTMIN+16",
                "RTMIN+0",
                "RTMAX-15",
                "SIG",
                "-9",
                "²",
            )
        ),
        (
            health(Test=["curl", "-f"]),
            (
                "Healthcheck.Test: it begins with 'curl', not with \"CMD\", before a program and"
                ' its arguments, "CMD-SHELL", before the text of a script, or "NONE"'
            ),
        ),
        (health(Test=["cmd", "true"]), "Healthcheck.Test: it begins with 'cmd', not with "),
        # The daemon of Docker 20.10 ends with a panic.
        (health(Test=["CMD"]), "Healthcheck.Test: there is no command after 'CMD'"),
        (
            health(Test=["CMD-SHELL", " "]),
            "Healthcheck.Test: there is no command after 'CMD-SHELL'",
        ),
        (
            health(Test=["CMD", "true"], Interval=30),
            (
                "Healthcheck.Interval: 30 is less than a millisecond: times are in nanoseconds, so"
                " that 30 seconds are 30000000000"
            ),
        ),
        (health(timeout=-1), "Healthcheck.Timeout: -1 is less than a millisecond: times are in "),
        (health(StartPeriod=999_999), "Healthcheck.StartPeriod: 999999 is less than "),
        (health(StartInterval=5), "Healthcheck.StartInterval: 5 is less than "),
        (health(Retries=-1), "Healthcheck.Retries: -1 is less than 0"),
    ],
)
def test_values_that_are_of_no_use(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        checked_config(config, "FILE")
    assert str(caught.value).startswith(f"FILE: config.{problem}")
    assert caught.value.key == f"config.{problem.partition(':')[0]}"
