"""Finding credentials: the files in their order, the keys in them, helpers, and damage."""

from __future__ import annotations

import base64
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import InputError, NixdockError, ToolError
from nixdock.registry.auth_sources import auth_sources
from nixdock.registry.credentials import Credentials, find_credentials
from nixdock.registry.registry_name import RegistryName
from tests.unit.auth_files import SECRET, Home, auths, basic


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def user_of(home: Home, host: str, repository: str = "", **variables: str) -> str | None:
    """Return the name of the user whose credentials are found."""
    environment = home.environment | variables
    found = find_credentials(host, repository, environment=environment, run=home.root / "run")
    return None if found is None else found.username


def test_credentials_hide_their_secrets() -> None:
    credentials = Credentials("user", SECRET, SECRET, "file")
    assert repr(credentials) == str(credentials) == "Credentials(username='user', origin='file')"
    assert credentials == Credentials("user", SECRET, SECRET)
    assert not hasattr(credentials, "__dict__")


# The files.


def test_the_files_are_searched_in_their_order(home: Home) -> None:
    files = [
        home.write("explicit.json", auths(a_io="explicit")),
        home.write("runtime/containers/auth.json", auths(a_io="runtime")),
        home.write("home/.config/containers/auth.json", auths(a_io="config")),
        home.write("home/.docker/config.json", auths(a_io="docker")),
        home.write("home/.dockercfg", {"https://a.io/v1/": basic("flat")}),
    ]
    for file, user in zip(files, ("explicit", "runtime", "config", "docker", "flat"), strict=True):
        assert user_of(home, "a.io", REGISTRY_AUTH_FILE=str(files[0])) == user
        file.unlink()
    assert user_of(home, "a.io", REGISTRY_AUTH_FILE=str(files[0])) is None
    assert user_of(home, "a.io") is None


def test_files_in_other_places(home: Home) -> None:
    home.write("settings/containers/auth.json", auths(a_io="config"))
    home.write("docker/config.json", auths(a_io="docker", b_io="docker"))
    home.write("home/.docker/config.json", auths(c_io="docker"))
    settings, docker = str(home.root / "settings"), str(home.root / "docker")
    assert user_of(home, "a.io") is None
    assert user_of(home, "a.io", XDG_CONFIG_HOME=settings) == "config"
    assert user_of(home, "a.io", DOCKER_CONFIG=docker) == "docker"
    assert user_of(home, "b.io", DOCKER_CONFIG=docker, XDG_CONFIG_HOME=settings) == "docker"
    assert user_of(home, "c.io", DOCKER_CONFIG=docker) is None
    assert user_of(home, "c.io", DOCKER_CONFIG="") == "docker"


def test_the_runtime_file_without_a_session(home: Home) -> None:
    home.write(f"run/containers/{os.getuid()}/auth.json", auths(a_io="run"))
    assert user_of(home, "a.io") is None
    for value in ("", "relative"):
        assert user_of(home, "a.io", XDG_RUNTIME_DIR=value) == "run"


def test_each_user_has_a_runtime_file() -> None:
    def first(user: int) -> str:
        return str(auth_sources({"HOME": "/home"}, user=user)[0].file)

    assert first(0) == "/run/containers/0/auth.json"
    assert first(1000) == "/run/containers/1000/auth.json"


def test_a_user_without_a_home_has_fewer_files() -> None:
    # No user has this number.
    sources = auth_sources({}, user=2**31 - 7)
    assert [str(source.file) for source in sources] == [f"/run/containers/{2**31 - 7}/auth.json"]


def test_a_file_without_the_registry_is_passed_over(home: Home) -> None:
    home.write("runtime/containers/auth.json", {"auths": {"b.io": basic("b")}, "credHelpers": None})
    home.write("home/.config/containers/auth.json", " \n")
    home.write("home/.docker/config.json", {"auths": {"a.io": {}, "c.io": {"email": "x"}}})
    home.write("home/.dockercfg", {"a.io": basic("flat")})
    assert user_of(home, "a.io") == "flat"
    assert user_of(home, "c.io") is None


# The keys of a file.


def test_the_most_specific_key_wins(home: Home) -> None:
    keys = ["a.io", "a.io/ns", "a.io/ns/repo", "a.io/ns/repo/deep"]
    for entries in (keys, keys[::-1]):
        document = {"auths": {key: basic(key) for key in entries}}
        home.write("runtime/containers/auth.json", document)
        assert user_of(home, "a.io") == "a.io"
        assert user_of(home, "a.io", "other/repo") == "a.io"
        assert user_of(home, "a.io", "ns") == "a.io/ns"
        assert user_of(home, "a.io", "ns/other") == "a.io/ns"
        assert user_of(home, "a.io", "nsx/repo") == "a.io"
        assert user_of(home, "a.io", "ns/repo") == "a.io/ns/repo"
        assert user_of(home, "a.io", "ns/repo/deep/er") == "a.io/ns/repo/deep"


def test_an_empty_entry_leaves_the_choice_to_a_less_specific_one(home: Home) -> None:
    home.write("runtime/containers/auth.json", {"auths": {"a.io/ns": {}, "a.io": basic("all")}})
    assert user_of(home, "a.io", "ns/repo") == "all"


@pytest.mark.parametrize(
    "key",
    [
        "https://a.io/v1/", "https://a.io/v2/", "https://a.io/v1", "https://a.io", "https://a.io/",
        "http://a.io/v1/", "http://a.io", "HTTPS://A.io/v2/", "A.IO", "a.io/", "a.io/v1/",
    ],
)  # fmt: skip
def test_keys_of_earlier_programs(home: Home, key: str) -> None:
    home.write("runtime/containers/auth.json", {"auths": {key: basic()}})
    assert user_of(home, "a.io", "ns/repo") == "user"
    assert user_of(home, "b.io", "ns/repo") is None


def test_a_plain_key_comes_before_urls(home: Home) -> None:
    document = {"auths": {"https://a.io/v1/": basic("url"), "a.io": basic("plain")}}
    home.write("runtime/containers/auth.json", document)
    assert user_of(home, "a.io") == "plain"


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
@pytest.mark.parametrize(
    "key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"]
)
def test_docker_hub_has_several_names(home: Home, host: str, key: str) -> None:
    home.write("runtime/containers/auth.json", {"auths": {key: basic()}})
    assert user_of(home, host, "library/debian") == "user"


def test_the_path_of_a_url_is_no_namespace_in_flat_files(home: Home) -> None:
    home.write("home/.dockercfg", {"a.io/v1/users": basic()})
    assert user_of(home, "a.io") == "user"


ATTACKS = [
    "ghcr.io.evil.com", "evil.ghcr.io", "ghcr.iox", "ghcr.i", "ghcr.io:443", "xghcr.io", "ghcr",
    "localhost",
]  # fmt: skip


@pytest.mark.parametrize("host", ATTACKS)
def test_no_other_host_gets_the_credentials(home: Home, host: str) -> None:
    keys = ["ghcr.io", "https://ghcr.io/v1/", "ghcr.io/ns", "https://ghcr.io", "ghcr.io/"]
    home.write("runtime/containers/auth.json", {"auths": {key: basic() for key in keys}})
    home.write("home/.dockercfg", {key: basic() for key in keys})
    for repository in ("", "ns", "ns/repo", "ghcr.io/ns"):
        assert user_of(home, host, repository) is None
    home.write("runtime/containers/auth.json", {"auths": {host: basic(), f"{host}/ns": basic()}})
    home.write("home/.dockercfg", {f"https://{host}/v1/": basic()})
    assert user_of(home, "ghcr.io", "ns/repo") is None


@pytest.mark.parametrize(
    "key",
    [
        "https://ghcr.io@evil.com/v1/", "https://evil.com/ghcr.io", "evil.com/ghcr.io", "",
        "https://x:y@ghcr.io/", "https://ghcr.io:443/", "//ghcr.io", "https:ghcr.io", "ghcr.io/ns/",
        "ghcr.io/v1", "ftp://ghcr.io/",
    ],
)  # fmt: skip
def test_keys_that_only_resemble_the_host(home: Home, key: str) -> None:
    home.write("runtime/containers/auth.json", {"auths": {key: basic()}})
    assert user_of(home, "ghcr.io", "other/repo") is None


@given(
    key=st.text("ab.:/", max_size=8),
    host=st.from_regex(r"[ab]{1,2}(\.[ab]{1,2})?(:1)?", fullmatch=True),
    repository=st.text("ab/", max_size=4),
)
def test_a_matching_key_is_the_host_or_the_start_of_the_name(
    key: str, host: str, repository: str
) -> None:
    matches = RegistryName.of_key(key).covers(RegistryName(host, repository))
    stripped = key.rstrip("/") if key.partition("/")[0] == host else key
    assert matches == f"{host}/{repository}/".startswith(f"{stripped}/")


@pytest.mark.parametrize("host", ["", "a.io/ns", "user:x@a.io", "a b", "a.io\n", "-a", "a..io"])
def test_a_host_that_is_none(home: Home, host: str) -> None:
    with pytest.raises(InputError, match=r"is not the host of a registry: expected HOST\[:PORT\]$"):
        user_of(home, host)


# Entries.


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": "dTpw"}, Credentials("u", "p")),
        ({"auth": "dTpw\n"}, Credentials("u", "p")),
        ({"auth": base64.b64encode(b"u:p:q").decode()}, Credentials("u", "p:q")),
        ({"auth": base64.b64encode(b"u:").decode()}, Credentials("u", "")),
        ({"auth": base64.b64encode(b"u:p\0\0").decode()}, Credentials("u", "p")),
        ({"auth": base64.b64encode("ü:ß".encode()).decode()}, Credentials("ü", "ß")),
        ({"username": "u", "password": "p"}, Credentials("u", "p")),
        ({"username": "x", "password": "y", "auth": "dTpw"}, Credentials("u", "p")),
        ({"auth": "", "username": "u", "password": "p"}, Credentials("u", "p")),
        ({"identitytoken": "t"}, Credentials(identity_token="t")),
        ({"auth": "dTpw", "identitytoken": "t", "email": 1}, Credentials("u", "p", "t")),
        ({"auth": None, "identitytoken": None}, None),
        ({}, None),
    ],
)
def test_entries(home: Home, entry: dict[str, Any], expected: Credentials | None) -> None:
    file = home.write("runtime/containers/auth.json", {"auths": {"a.io": entry}})
    found = find_credentials("a.io", environment=home.environment)
    assert found == expected
    assert found is None or found.origin == str(file)


WRONG = base64.b64encode(SECRET.encode()).decode()
NOT_TEXT = base64.b64encode(b"\xff" + SECRET.encode()).decode()


@pytest.mark.parametrize(
    ("document", "fault", "key"),
    [
        ({"auths": {"a.io": {"auth": WRONG}}}, "has no colon between", "auths['a.io'].auth"),
        ({"auths": {"a.io": {"auth": f"{SECRET}!"}}}, "not text in base64", "auths['a.io'].auth"),
        ({"auths": {"a.io": {"auth": NOT_TEXT}}}, "not text in base64", "auths['a.io'].auth"),
        ({"auths": {"a.io": {"auth": f"{SECRET}é"}}}, "not text in base64", "auths['a.io'].auth"),
        ({"auths": {"a.io": {"auth": [SECRET]}}}, "Expected `str | null`", "auths['a.io'].auth"),
        ({"auths": {"a.io": SECRET}}, "Expected `object`, got `str`", "auths['a.io']"),
        ({"auths": [SECRET]}, "Expected `object | null`, got `array`", "auths"),
        ({"credHelpers": {"a.io": [SECRET]}}, "Expected `str`", "credHelpers['a.io']"),
        ({"credsStore": {"x": SECRET}}, "Expected `str | null`", "credsStore"),
        ([SECRET], "is not a JSON object", None),
        (f'{{"auths": "{SECRET}', "is not valid JSON (line 1, column ", None),
        (f"\n{SECRET}", "is not valid JSON (line 2, column 1)", None),
    ],
)
def test_damage_is_named_without_secrets(
    home: Home, document: object, fault: str, key: str | None
) -> None:
    file = home.write("runtime/containers/auth.json", document)
    with pytest.raises(InputError) as caught:
        user_of(home, "a.io")
    message = str(caught.value)
    assert (caught.value.path, caught.value.key) == (str(file), key)
    assert str(file) in message
    assert fault in message
    assert (key or "") in message
    for secret in (SECRET, WRONG, NOT_TEXT):
        assert secret not in message


def test_damage_of_other_entries_does_not_matter(home: Home) -> None:
    home.write("runtime/containers/auth.json", {"auths": {"b.io": 1, "a.io": basic()}})
    assert user_of(home, "a.io") == "user"


def test_a_file_that_can_not_be_read(home: Home) -> None:
    file = home.root / "runtime/containers/auth.json"
    file.mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        user_of(home, "a.io")
    assert str(caught.value) == f"can't read the credential file {file}: Is a directory"


# Helpers.


def get(server: str, answer: str) -> str:
    """Return the script of a helper that answers for one server."""
    return f"""
        server=$(cat)
        if [ "$1 $server" = "get {server}" ]; then printf %s '{answer}'
        else echo "credentials not found in native keychain"; exit 1; fi
    """


ANSWER = f'{{"ServerURL": "a.io", "Username": "helped", "Secret": "{SECRET}"}}'


def test_a_helper_is_asked(home: Home) -> None:
    home.helper("keys", get("a.io", ANSWER))
    document = {"credHelpers": {"a.io": "keys", "b.io": "keys"}, "auths": {"b.io": basic()}}
    file = home.write("runtime/containers/auth.json", document)
    found = find_credentials("a.io", "ns/repo", environment=home.environment)
    assert found == Credentials("helped", SECRET)
    assert found.origin == f"docker-credential-keys, which {file} names"
    # The helper alone is responsible for its registries in this file, but not in others.
    assert user_of(home, "b.io") is None
    home.write("home/.docker/config.json", auths(b_io="docker"))
    assert user_of(home, "b.io") == "docker"


def test_an_identity_token_of_a_helper(home: Home) -> None:
    home.helper("keys", get("a.io", ANSWER.replace("helped", "<token>")))
    home.write("runtime/containers/auth.json", {"credHelpers": {"a.io": "keys"}})
    found = find_credentials("a.io", environment=home.environment)
    assert found == Credentials(identity_token=SECRET)


def test_the_order_within_a_file(home: Home) -> None:
    home.helper("own", get("a.io", ANSWER.replace("helped", "own")))
    home.helper("store", get("b.io", ANSWER.replace("helped", "store")))
    document = {
        **auths(a_io="auths", b_io="auths", c_io="auths", d_io="auths"),
        "credHelpers": {"a.io": "own", "d.io": ""},
        "credsStore": "store",
    }
    home.write("runtime/containers/auth.json", document)
    users = {host: user_of(home, host) for host in ("a.io", "b.io", "c.io", "d.io")}
    # An empty name means the file itself.
    assert users == {"a.io": "own", "b.io": "store", "c.io": "auths", "d.io": "auths"}


@pytest.mark.parametrize("server", ["https://index.docker.io/v1/", "docker.io"])
def test_helpers_know_docker_hub_by_several_names(home: Home, server: str) -> None:
    home.helper("keys", get(server, ANSWER))
    for settings in ({"credsStore": "keys"}, {"credHelpers": {"docker.io": "keys"}}):
        home.write("runtime/containers/auth.json", settings)
        assert user_of(home, "registry-1.docker.io", "library/debian") == "helped"


def test_a_helper_is_not_asked_for_another_registry(home: Home) -> None:
    home.helper("keys", "echo called >&2; exit 9")
    home.write("runtime/containers/auth.json", {"credHelpers": {"a.io": "keys", "a.io/b": "keys"}})
    assert user_of(home, "b.io") is None
    assert user_of(home, "a.io.evil.com", "b") is None


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (f"cat >&2; echo {SECRET}; exit 1", "get failed with exit status 1 for a.io"),
        (f"echo {SECRET} >&2; exit 3", "get failed with exit status 3 for a.io"),
        (f"echo {SECRET}", "printed something else than credentials for a.io"),
        (f"echo '[\"{SECRET}\"]'", "printed something else than credentials for a.io"),
        (f'echo \'{{"Username": {{"{SECRET}": 1}}}}\'', "printed something else"),
        ("head -c 2000000 /dev/zero", "printed something else than credentials for a.io"),
    ],
)
def test_a_broken_helper(home: Home, script: str, fault: str) -> None:
    home.helper("keys", script)
    file = home.write("runtime/containers/auth.json", {"credsStore": "keys", **auths(a_io="x")})
    with pytest.raises(ToolError) as caught:
        user_of(home, "a.io")
    message = str(caught.value)
    assert message.startswith(f"docker-credential-keys {fault}")
    assert message.endswith(f"; run it by hand to see why, or remove it from {file}")
    assert SECRET not in message
    assert caught.value.path == "docker-credential-keys"


def test_a_missing_helper(home: Home) -> None:
    file = home.write("runtime/containers/auth.json", {"credHelpers": {"a.io": "keys"}})
    with pytest.raises(ToolError) as caught:
        user_of(home, "a.io")
    assert str(caught.value) == (
        "docker-credential-keys is not in PATH: install it, or add it to PATH"
        f" ({file} names it for a.io)"
    )
    assert user_of(home, "b.io") is None


@pytest.mark.parametrize("name", ["../x", "/bin/sh", "a b", "a;b", "ä", "x\n", "$(x)"])
def test_the_name_of_a_helper_is_no_path(home: Home, name: str) -> None:
    file = home.write("runtime/containers/auth.json", {"credHelpers": {"a.io": name}})
    with pytest.raises(InputError) as caught:
        user_of(home, "a.io")
    assert str(caught.value).startswith(f"the credential file {file} names the credential helper ")
    assert caught.value.path == str(file)


def test_the_log_has_no_secrets(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    home.helper("keys", get("a.io", ANSWER))
    home.helper("broken", f"echo {SECRET} | tee /dev/stderr; exit 1")
    document = {"credHelpers": {"a.io": "keys", "c.io": "broken"}, **auths(b_io="user")}
    home.write("runtime/containers/auth.json", document)
    environment = home.environment | {"TOKEN": SECRET}
    for host in ("a.io", "b.io", "c.io"):
        try:
            found = find_credentials(host, environment=environment)
            assert found
            assert found.password == SECRET
            assert SECRET not in repr(found)
        except NixdockError as error:
            assert SECRET not in f"{error!r} {error} {vars(error)}"
    assert "run: docker-credential-keys get" in caplog.messages
    assert SECRET not in caplog.text
    assert basic()["auth"] not in caplog.text


def test_a_runtime_directory_of_root_alone(home: Home) -> None:
    """It is /run/containers on some systems, and not for other users."""
    home.write("home/.config/containers/auth.json", auths(a_io="config"))
    closed = home.root / "run/containers"
    closed.mkdir(parents=True)
    closed.chmod(0)
    program = (
        "import ctypes, os, sys\n"
        "from pathlib import Path\n"
        "libc = ctypes.CDLL(None)\n"
        "class Rights(ctypes.Structure):\n"
        "    _fields_ = [('words', ctypes.c_uint32 * 6)]\n"
        # Give up all rights of root: capset, with the version of the kernel's interface.
        "header = (ctypes.c_uint32 * 2)(0x20080522, 0)\n"
        "assert libc.capset(header, ctypes.byref(Rights())) == 0\n"
        "from nixdock.registry.auth_sources import auth_sources, login_file\n"
        "run, environment = Path(sys.argv[1]), {'HOME': sys.argv[2]}\n"
        "print(auth_sources(environment, run=run, user=1001)[0].file)\n"
        "print(login_file(environment, run=run, user=1001))\n"
    )
    command = [sys.executable, "-c", program, str(home.root / "run"), str(home.root / "home")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    file = str(home.root / "home/.config/containers/auth.json")
    assert done.stdout.splitlines() == [file, file]
