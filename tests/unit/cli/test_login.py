"""`nixdock login` and `logout`: passwords from pipes and terminals, and no secrets shown."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest

from tests.unit.auth_files import SECRET, Home, auths, basic
from tests.unit.cli.program import PROGRAM
from tests.unit.registry.fake_registry import FakeRegistry, fake_registry

# Everything that a run may show: options of all kinds of output are on.
LOUD = ("-v", "--debug")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "runtime").mkdir()
    (tmp_path / "home").mkdir()
    return Home(tmp_path)


def nixdock(home: Home, *words: str, stdin: str | bytes = "") -> subprocess.CompletedProcess[str]:
    if words[:1] == ("login",) and not any("127.0.0.1" in word for word in words):
        # There is no such registry here.
        words = (*words, "--no-check")
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    done = subprocess.run(
        [*PROGRAM, *words], input=data, env=home.environment, capture_output=True, check=False
    )
    text = [done.stdout.decode(), done.stderr.decode()]
    return subprocess.CompletedProcess(done.args, done.returncode, *text)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_password_from_standard_input(home: Home, end: str) -> None:
    words = ("login", "ghcr.io", "-u", "user", "--password-stdin")
    done = nixdock(home, *words, stdin=f"{SECRET}{end}")
    file = home.root / "runtime/containers/auth.json"
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"stored the credentials of user for ghcr.io in {file}\n"
    assert json.loads(file.read_text()) == auths(ghcr_io="user")


def test_a_login_and_a_logout(home: Home) -> None:
    for host in ("a.io", "b.io", "c.io/ns"):
        words = ("login", host, "--username=user", "--password-stdin")
        assert nixdock(home, *words, stdin=SECRET).returncode == 0
    file = home.root / "runtime/containers/auth.json"
    done = nixdock(home, "logout", "a.io")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"removed the credentials for a.io from {file}\n"
    assert list(json.loads(file.read_text())["auths"]) == ["b.io", "c.io/ns"]
    done = nixdock(home, "logout", "a.io")
    assert (done.returncode, last_line(done)) == (
        2,
        f"error: {file} has no credentials for a.io",
    )
    done = nixdock(home, "logout", "--all")
    assert done.stderr == f"removed the credentials for all registries from {file}\n"
    assert json.loads(file.read_text()) == {"auths": {}}


def test_a_logout_without_a_file(home: Home) -> None:
    file = home.root / "runtime/containers/auth.json"
    done = nixdock(home, "logout", "--all")
    assert done.stderr == f"there are no credentials: {file} does not exist\n"
    assert done.returncode == 0
    assert not file.exists()


def test_a_scheme_is_left_out(home: Home) -> None:
    words = ("login", "https://ghcr.io", "-u", "user", "--password-stdin")
    done = nixdock(home, *words, stdin=SECRET)
    assert done.stderr.startswith(
        "warning: the name of a registry contains no https://: using ghcr.io\n"
    )
    file = home.root / "runtime/containers/auth.json"
    assert json.loads(file.read_text()) == auths(ghcr_io="user")


@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        ("login", "", "Missing argument 'HOST[/NAMESPACE]'."),
        ("login a.io --password-stdin", "x", "--password-stdin needs --username"),
        (
            "login a.io --username user",
            SECRET,
            "standard input is not a terminal; use --username and --password-stdin",
        ),
        ("login a.io -u user --password-stdin", "\n", "the password is empty; give one"),
        (
            "login a.io -u user --password-stdin",
            f"{SECRET}\n{SECRET}\n",
            "the user name or the password contains a control character, such as a second line",
        ),
        (
            "login a.io -u user --password-stdin",
            SECRET.encode() + b"\xff",
            "the password on standard input is not UTF-8 text",
        ),
        (
            "login a.io -u user --password-stdin",
            "x" * 2_000_000,
            "the password on standard input has more than 1048576 bytes",
        ),
        ("logout", "", "name a registry, or use --all, but not both"),
        ("logout a.io --all", "", "name a registry, or use --all, but not both"),
    ],
)
def test_wrong_usage(home: Home, words: str, stdin: str | bytes, message: str) -> None:
    done = nixdock(home, *words.split(), stdin=stdin)
    assert (done.returncode, last_line(done)) == (2, f"error: {message}")
    assert SECRET not in done.stdout + done.stderr
    assert not (home.root / "runtime/containers").exists()


def converse(home: Home, *words: str, answers: list[tuple[str, str]]) -> str:
    """Run nixdock on a terminal, answer each question, and return all that the terminal showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=home.environment,
        # It has no controlling terminal, not even that of the tests.
        start_new_session=True,
    )
    os.close(theirs)
    shown = ""
    with process:
        for question, answer in answers:
            # The space at the end appears when the echo is off.
            while question not in shown:
                shown += os.read(ours, 4096).decode()
            os.write(ours, f"{answer}\n".encode())
        with suppress(OSError):  # the other side is closed
            while data := os.read(ours, 4096):
                shown += data.decode()
    os.close(ours)
    assert process.returncode == 0, shown
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("asks_for_name", [False, True])
def test_a_terminal_asks_and_hides_the_password(home: Home, asks_for_name: bool) -> None:
    names = [("User name: ", "user")] if asks_for_name else []
    options = [] if asks_for_name else ["-u", "user"]
    answers = [*names, ("Password or token: ", SECRET)]
    shown = converse(home, "login", "ghcr.io", "--no-check", *options, *LOUD, answers=answers)
    assert ("User name: " in shown) == asks_for_name
    assert SECRET not in shown
    file = home.root / "runtime/containers/auth.json"
    assert f"stored the credentials of user for ghcr.io in {file}" in shown
    assert json.loads(file.read_text()) == auths(ghcr_io="user")


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({}, 0),
        ({"credsStore": "keys"}, 0),
        ({"credsStore": "broken"}, 1),
        ({"credsStore": "missing"}, 1),
        ({"credsStore": "../x"}, 2),
        ({"auths": SECRET}, 2),
        (f"{{{SECRET}", 2),
        ({"auths": {"a.io": SECRET}}, 0),
    ],
)
def test_no_output_has_a_secret(home: Home, document: object, status: int) -> None:
    home.keeping_helper("keys")
    home.helper("broken", f"cat; cat >&2; echo {SECRET} | tee /dev/stderr; exit 1")
    home.write("runtime/containers/auth.json", document)
    words = ("login", "a.io", "-u", "user", "--password-stdin")
    runs = [
        nixdock(home, *words, *LOUD, stdin=SECRET),
        nixdock(home, *words, stdin=SECRET),
        nixdock(home, "logout", "a.io", *LOUD),
        nixdock(home, "logout", "--all", *LOUD),
    ]
    # With --debug, a traceback comes before every error.
    assert runs[0].returncode == status
    assert ("Traceback" in runs[0].stderr) == bool(status)
    for done in runs:
        for secret in (SECRET, basic()["auth"]):
            assert secret not in done.stdout + done.stderr


def test_the_command_line_of_a_helper_is_shown_without_secrets(home: Home) -> None:
    home.keeping_helper("keys")
    home.write("runtime/containers/auth.json", {"credsStore": "keys"})
    words = ("login", "a.io", "-u", "user", "--password-stdin", "-v")
    done = nixdock(home, *words, stdin=SECRET)
    assert done.stderr.splitlines()[:2] == [
        "debug: run: docker-credential-keys store",
        "debug: docker-credential-keys ended with exit status 0",
    ]


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.mark.parametrize("kind", ["basic", "token"])
def test_the_registry_is_asked_first(
    home: Home, fake: FakeRegistry, kind: Literal["basic", "token"]
) -> None:
    fake.accounts.kind = kind
    fake.accounts.passwords["user"] = SECRET
    words = ("login", fake.host, "-u", "user", "--password-stdin")
    done = nixdock(home, *LOUD, *words, stdin="wrong-secret")
    assert done.returncode == 1
    assert "wrong-secret" not in done.stderr
    assert not (home.root / "runtime/containers/auth.json").exists()

    done = nixdock(home, *words, stdin=SECRET)
    assert done.returncode == 0
    assert done.stderr.startswith(f"logged in to {fake.host}; stored the credentials of user for")
