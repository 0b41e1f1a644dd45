"""Configs that tools written in Go refuse, as skopeo 1.9 and Podman 4.3 showed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nixdock.oci.config_faults import config_faults, is_time
from nixdock.oci.documents import ConfigDocument


def faults(**keys: Any) -> dict[str, str]:
    document = {"rootfs": {"type": "layers"}, **keys}
    return dict(config_faults(msgspec.convert(document, ConfigDocument)))


@pytest.mark.parametrize(
    "text",
    [
        "1970-01-01T00:00:01Z",
        "0001-01-01T00:00:00Z",
        "0000-02-29T00:00:00Z",
        "2024-02-29T23:59:59.123456789+05:30",
        "2020-12-31T00:00:00-00:00",
    ],
)
def test_times(text: str) -> None:
    assert is_time(text)
    assert faults(created=text, history=[{"created": text}]) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2021-02-31T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2020-04-00T00:00:00Z",
        "2020-19-39T29:00:60Z",
        "2020-01-01t00:00:00Z",
        "2020-01-01T00:00:00z",
        "2020-01-01T24:00:00Z",
        "2020-01-01T00:00:60Z",
        "2020-01-01 00:00:00Z",
        "2020-01-01T00:00:00",
        "2020-01-01T00:00:00+24:00",
        "2020-01-01T00:00:00Z\n",
    ],
)
def test_times_that_are_none(text: str) -> None:
    assert not is_time(text)
    assert faults(created=text, history=[{}, {"created": text}]).keys() == {
        "created",
        "history[1].created",
    }


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ({"Env": "x"}, {"config.Env"}),
        ({"env": "x"}, {"config.env"}),
        ({"Env": ["a=b", 1]}, {"config.Env[1]"}),
        ({"Cmd": "s", "Entrypoint": "s"}, {"config.Cmd", "config.Entrypoint"}),
        ({"Labels": [1]}, {"config.Labels"}),
        ({"Labels": {"a": 1}}, {"config.Labels[...]"}),
        ({"Volumes": ["x"], "ExposedPorts": []}, {"config.Volumes", "config.ExposedPorts"}),
        ({"ExposedPorts": {"1": 5}}, {"config.ExposedPorts[...]"}),
        ({"Healthcheck": 5}, {"config.Healthcheck"}),
        ({"Healthcheck": {"Test": "x"}}, {"config.Healthcheck.Test"}),
        ({"User": 5, "WorkingDir": []}, {"config.User", "config.WorkingDir"}),
        ({"StopTimeout": "x", "Tty": "x"}, {"config.StopTimeout", "config.Tty"}),
        (
            {
                "Env": [None],
                "Labels": {"a": None},
                "Cmd": None,
                "ExposedPorts": {"1": {"a": 1}, "2": None},
                "Healthcheck": {"Test": ["NONE"]},
                "Memory": "x",
                "Unknown": 5,
            },
            set(),
        ),
        (None, set()),
    ],
)
def test_types(value: Any, keys: set[str]) -> None:
    assert faults(config=value).keys() == keys
