"""Users of an htpasswd file, and nobody else, read what is served."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import bcrypt
import pytest

from nixdock.errors import InputError
from nixdock.runtime.passwords import Passwords, for_users, read_htpasswd
from nixdock.runtime.replies import RefusedError


def hashed(password: str, prefix: bytes = b"2b") -> bytes:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4, prefix))


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("users") / "htpasswd"
    # `htpasswd -B` writes $2y$.
    lines = [
        b"# users",
        b"ann:" + hashed("secret").replace(b"$2b$", b"$2y$"),
        b"",
        "jürgen:".encode() + hashed("pässwörd: with a colon", b"2a"),
        b"long:" + hashed("x" * 72),
    ]
    file.write_bytes(b"\n".join(lines))
    return file


@pytest.mark.parametrize(
    ("header", "right"),
    [
        (basic("ann", "secret"), True),
        (basic("ann", "secret").replace("Basic", "bASIC"), True),
        (basic("jürgen", "pässwörd: with a colon"), True),
        (basic("long", "x" * 72), True),
        # bcrypt knows no more than 72 bytes.
        (basic("long", "x" * 73), False),
        (basic("ann", "Secret"), False),
        (basic("ann", ""), False),
        (basic("ann", "secret\0"), False),
        (basic("ann", "a\0b"), False),
        (basic("", ""), False),
        (basic("# users", ""), False),
        (basic("bob", "secret"), False),
        (basic("", "secret"), False),
        (f"Basic {base64.b64encode(b'ann').decode()}", False),
        ("Basic", False),
        ("Basic %%%", False),
        ("Basic é", False),
        ("Bearer secret", False),
        ("", False),
        (None, False),
    ],
)
def test_who_is_let_in(file: Path, header: str | None, right: bool) -> None:
    passwords = read_htpasswd(file)
    for _ in range(2):
        if right:
            passwords.check(header)
            continue
        with pytest.raises(RefusedError) as caught:
            passwords.check(header)
        assert caught.value.reply.status == 401
        challenge = caught.value.reply.headers["WWW-Authenticate"]
        assert challenge == 'Basic realm="nixdock", charset="UTF-8"'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no users"),
        ("# only a comment\n", "has no users"),
        ("ann", "line 1 is not a user, a colon and a hash of bcrypt; make it with `htpasswd -nB"),
        ("ann:secret", "line 1 is not"),
        ("\nann:$apr1$x$yyyyyyyyyyyyyyyyyyyyyy", "line 2 is not"),
        ("ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "line 1 is not"),
        (":$2b$04$" + "a" * 53, "line 1 is not"),
        ("ann:$2b$03$" + "a" * 53, "line 1 is not"),
        ("ann:$2b$04$" + "a" * 52, "line 1 is not"),
        (f"ann:$2b$04${'a' * 53}\nann:$2b$04${'b' * 53}", "line 2 has a user of an earlier line"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "htpasswd"
    file.write_text(text)
    with pytest.raises(InputError, match=message.replace("$", r"\$")) as caught:
        read_htpasswd(file)
    assert "secret" not in str(caught.value)
    with pytest.raises(InputError, match="can't read the htpasswd file"):
        read_htpasswd(tmp_path / "none")


def test_a_right_password_is_hashed_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[bytes] = []
    check = bcrypt.checkpw
    started = threading.Event()

    def counted(password: bytes, digest: bytes) -> bool:
        checks.append(password)
        # The others come meanwhile.
        started.wait(0.2)
        return check(password, digest)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    passwords = read_htpasswd(file)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: passwords.check(basic("ann", "secret")), range(64)))
    assert checks == [b"secret"]


def test_guessing_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users that are known go on, and further guesses are refused at once."""
    passwords = Passwords({b"ann": hashed("secret")})
    passwords.check(basic("ann", "secret"))
    go_on = threading.Event()
    busy = threading.Semaphore(0)

    def slow(*_: bytes) -> bool:
        busy.release()
        go_on.wait(30)
        return False

    monkeypatch.setattr(bcrypt, "checkpw", slow)

    def guess(number: int) -> int:
        with pytest.raises(RefusedError) as caught:
            passwords.check(basic("ann", str(number)))
        return caught.value.reply.status

    with ThreadPoolExecutor(4) as pool:
        guesses = [pool.submit(guess, number) for number in range(4)]
        for _ in guesses:
            assert busy.acquire(timeout=30)
        passwords.check(basic("ann", "secret"))
        assert guess(99) == 429
        go_on.set()
        assert [each.result() for each in guesses] == [401] * 4
    assert guess(99) == 401


def test_the_application_is_not_asked() -> None:
    def inner(environ: Any, start: Any) -> Iterable[bytes]:
        start("200 OK", [])
        return [b"inside"]

    app = for_users(inner, Passwords({b"ann": hashed("secret")}))

    def ask(method: str, header: str | None) -> tuple[str, dict[str, str], bytes]:
        environ: dict[str, Any] = {"REQUEST_METHOD": method}
        if header is not None:
            environ["HTTP_AUTHORIZATION"] = header
        setup_testing_defaults(environ)
        started: list[Any] = []

        def start(status: str, fields: list[tuple[str, str]], *_: object) -> Any:
            started.extend((status, fields))

        body = b"".join(app(environ, start))
        return started[0], dict(started[1]), body

    assert ask("GET", basic("ann", "secret"))[2] == b"inside"
    status, headers, body = ask("GET", None)
    assert status == "401 Unauthorized"
    assert headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert int(headers["Content-Length"]) == len(body)
    assert json.loads(body)["errors"][0]["code"] == "UNAUTHORIZED"
    assert ask("HEAD", basic("ann", "wrong"))[::2] == ("401 Unauthorized", b"")
