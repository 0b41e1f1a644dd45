"""The `config` object: its fields, their types, and its JSON."""

from __future__ import annotations

from typing import Any

import pytest

from nixdock.errors import SpecError
from nixdock.oci.container_config import ContainerConfig, container_config
from nixdock.spec.checks import checked_config

FULL: dict[str, Any] = {
    "User": "1000:100",
    "ExposedPorts": {"80/tcp": {}},
    "Env": ["PATH=/bin", "EMPTY="],
    "Entrypoint": ["/bin/entry", "-v"],
    "Cmd": ["serve"],
    "Volumes": {"/data": {}},
    "WorkingDir": "/work",
    "Labels": {"org.example.label": "é"},
    "StopSignal": "SIGINT",
    "ArgsEscaped": False,
    "Memory": 2**63 - 1,
    "MemorySwap": -1,
    "CpuShares": 512,
    "Healthcheck": {
        "Test": ["CMD", "true"],
        "Interval": 10**9,
        "Timeout": 0,
        "StartPeriod": 1,
        "StartInterval": 2,
        "Retries": 3,
    },
    "Shell": ["/bin/sh", "-c"],
    "OnBuild": ["RUN true"],
}


def written(config: dict[str, Any]) -> dict[str, Any]:
    typed, unknown = checked_config(config, "FILE")
    assert unknown == []
    return dict(container_config(typed))


def test_every_field_is_kept() -> None:
    assert written(FULL) == FULL
    assert FULL.keys() == set(ContainerConfig.__struct_fields__)


def test_nothing_is_added() -> None:
    assert container_config(ContainerConfig()) == {}


@pytest.mark.parametrize("key", FULL)
def test_null_is_the_same_as_absent(key: str) -> None:
    rest = {name: value for name, value in FULL.items() if name != key}
    assert written({**FULL, key: None}) == rest


@pytest.mark.parametrize(
    "config",
    [
        {"Env": [], "Cmd": [], "Labels": {}, "ExposedPorts": {}},
        {"User": "", "WorkingDir": ""},
        {"Memory": 0, "ArgsEscaped": False},
        {"Healthcheck": {}},
    ],
)
def test_empty_values_are_kept(config: dict[str, Any]) -> None:
    assert written(config) == config


@pytest.mark.parametrize("key", ["Entrypoint", "Cmd"])
def test_a_command_in_one_string_becomes_a_list(key: str) -> None:
    assert written({key: "/bin/a program"}) == {key: ["/bin/a program"]}
    assert written({key: ""}) == {key: [""]}


def test_env_keeps_its_order_and_duplicates() -> None:
    env = ["B=1", "A=2", "B=3", "NO_VALUE"]
    assert written({"Env": env}) == {"Env": env}


def test_unknown_keys_are_returned_in_order() -> None:
    typed, unknown = checked_config({"Tty": True, "Cmd": ["x"], "cmd": ["y"]}, "FILE")
    assert unknown == ["Tty", "cmd"]
    assert container_config(typed) == {"Cmd": ["x"]}


def test_unknown_keys_of_a_health_check_are_returned() -> None:
    config = {"Healthcheck": {"Retry": 1, "Retries": 2}, "Tty": True}
    typed, unknown = checked_config(config, "FILE")
    assert unknown == ["Tty", "Healthcheck.Retry"]
    assert container_config(typed) == {"Healthcheck": {"Retries": 2}}


@pytest.mark.parametrize("key", ["ExposedPorts", "Volumes"])
def test_members_of_a_set_are_empty(key: str) -> None:
    assert written({key: {"a": {"b": {"c": []}}, "d": {}}}) == {key: {"a": {}, "d": {}}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"User": 1000}, "FILE: config.User: "),
        ({"ExposedPorts": ["80/tcp"]}, "FILE: config.ExposedPorts: "),
        ({"ExposedPorts": {"80/tcp": None}}, r"FILE: config.ExposedPorts\[...\]: "),
        ({"Env": {"A": "1"}}, "FILE: config.Env: "),
        ({"Env": ["A=1", None]}, r"FILE: config.Env\[1\]: "),
        ({"Entrypoint": 5}, "FILE: config.Entrypoint: "),
        ({"Cmd": ["a", ["b"]]}, r"FILE: config.Cmd\[1\]: "),
        ({"Volumes": "/data"}, "FILE: config.Volumes: "),
        ({"ArgsEscaped": 1}, "FILE: config.ArgsEscaped: "),
        ({"Memory": "1g"}, "FILE: config.Memory: "),
        ({"Memory": 2**63}, "FILE: config.Memory: "),
        ({"CpuShares": True}, "FILE: config.CpuShares: "),
        ({"Healthcheck": {"Test": "true"}}, "FILE: config.Healthcheck.Test: "),
        ({"Healthcheck": []}, "FILE: config.Healthcheck: "),
        ({"Shell": "/bin/sh"}, "FILE: config.Shell: "),
    ],
)
def test_errors_name_the_key(config: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        checked_config(config, "FILE")


def test_a_config_is_immutable() -> None:
    with pytest.raises(AttributeError):
        ContainerConfig().User = "x"  # type: ignore[misc]
