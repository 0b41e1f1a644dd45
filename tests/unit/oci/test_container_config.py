"""The `config` object: its fields, their types, and its JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nixdock.errors import SpecError
from nixdock.oci.container_config import ContainerConfig, container_config
from nixdock.spec.config_checks import checked_config, undefined_keys

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
        "StartPeriod": 10**6,
        "StartInterval": 2 * 10**6,
        "Retries": 3,
    },
    "Shell": ["/bin/sh", "-c"],
    "OnBuild": ["RUN true"],
}


def written(config: dict[str, Any]) -> dict[str, Any]:
    typed, unknown = checked_config(config, "FILE")
    assert unknown == {}
    return dict(container_config(typed, unknown))


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
    assert written({key: "/bin/program"}) == {key: ["/bin/program"]}
    assert written({key: ""}) == {key: [""]}


@pytest.mark.parametrize("key", ["Entrypoint", "Cmd"])
def test_a_command_line_in_one_string_is_refused(key: str) -> None:
    with pytest.raises(SpecError, match=rf'config.{key}: .* such as \["ls","-l"\]') as error:
        checked_config({key: "ls -l"}, "FILE")
    assert error.value.key == f"config.{key}"
    assert written({key: ["/bin/a program"]}) == {key: ["/bin/a program"]}


def test_env_keeps_its_order_and_duplicates() -> None:
    env = ["B=1", "A=2", "B=3", "NO_VALUE"]
    assert written({"Env": env}) == {"Env": env}


@pytest.mark.parametrize("change", [str.lower, str.upper, str.swapcase])
def test_the_case_of_keys_does_not_matter(change: Callable[[str], str]) -> None:
    config = {change(key): value for key, value in FULL.items()}
    check = {change(key): value for key, value in FULL["Healthcheck"].items()}
    assert written({**config, change("Healthcheck"): check}) == FULL


def test_names_in_objects_are_kept_as_they_are() -> None:
    config = {"labels": {"cmd": "1", "CMD": "2"}, "volumes": {"/Env": {}}}
    assert written(config) == {"Labels": {"cmd": "1", "CMD": "2"}, "Volumes": {"/Env": {}}}


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"Cmd": ["x"], "Tty": True, "cmd": ["y"]}, "config.cmd"),
        ({"ENV": [], "env": []}, "config.env"),
        ({"Healthcheck": {}, "HealthCheck": {}}, "config.HealthCheck"),
        ({"Healthcheck": {"test": [], "Test": []}}, "config.Healthcheck.Test"),
    ],
)
def test_two_spellings_of_a_key_are_refused(config: dict[str, Any], key: str) -> None:
    with pytest.raises(SpecError, match="are the same key") as error:
        checked_config(config, "FILE")
    assert error.value.key == key


@pytest.mark.parametrize(
    ("config", "key", "meant"),
    [
        ({"EntryPoints": ["x"]}, "config.EntryPoints", "Entrypoint"),
        ({"working_dir": "/"}, "config.working_dir", "WorkingDir"),
        ({"workdir": "/"}, "config.workdir", "WorkingDir"),
        ({"Label": {}}, "config.Label", "Labels"),
        ({"envs": []}, "config.envs", "Env"),
        ({"Healthcheck": {"Retr_ies": 1}}, "config.Healthcheck.Retr_ies", "Retries"),
    ],
)
def test_misspelled_keys_are_refused(config: dict[str, Any], key: str, meant: str) -> None:
    with pytest.raises(SpecError, match=rf"{key}: .* did you mean {meant}\?") as error:
        checked_config(config, "FILE")
    assert error.value.key == key


# Docker's own keys beyond the image specifications.
@pytest.mark.parametrize(
    "key",
    [
        *("Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty"),
        *("OpenStdin", "StdinOnce", "Image", "NetworkDisabled", "MacAddress", "StopTimeout"),
    ],
)
def test_other_keys_are_passed_on(key: str) -> None:
    typed, unknown = checked_config({key: [1], "cmd": ["x"]}, "FILE")
    assert [*undefined_keys(unknown)] == [key]
    assert container_config(typed, unknown) == {"Cmd": ["x"], key: [1]}


def test_other_keys_of_a_health_check_are_passed_on() -> None:
    config = {"healthcheck": {"Nonsense": 1, "retries": 2}, "Tty": True}
    typed, unknown = checked_config(config, "FILE")
    assert [*undefined_keys(unknown)] == ["Tty", "Healthcheck.Nonsense"]
    check = {"Nonsense": 1, "Retries": 2}
    assert container_config(typed, unknown) == {"Healthcheck": check, "Tty": True}


@pytest.mark.parametrize("key", ["ExposedPorts", "Volumes"])
def test_members_of_a_set_are_empty(key: str) -> None:
    assert written({key: {"80": {"b": {"c": []}}, "81": None}}) == {key: {"80": {}, "81": {}}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"User": 1000}, "FILE: config.User: "),
        ({"ExposedPorts": ["80/tcp"]}, "FILE: config.ExposedPorts: "),
        ({"ExposedPorts": {"80/tcp": {}, "443/tcp": 1}}, r"config.ExposedPorts\['443/tcp'\]: "),
        ({"Labels": {"a": "x", "b": 7, "c": "y"}}, r"FILE: config.Labels\['b'\]: Expected `str`"),
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
