"""Who may read from the registry: the users of an htpasswd file, with the scheme Basic (RFC 7617).

Passwords are hashed with bcrypt, as other registries want it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nixdock.errors import InputError
from nixdock.runtime.replies import RefusedError, refuse
from nixdock.system.input_files import read_bytes

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Passwords", "for_users", "read_htpasswd"]

_HASH: Final = re.compile(rb"\$2[aby]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
# bcrypt knows no more of a password.
_MOST_PASSWORD: Final = 72
# Each takes a core for a tenth of a second or so: guessing must not keep the others waiting.
_MOST_CHECKS: Final = 4
_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="nixdock", charset="UTF-8"'}


class Passwords:
    """The hashes of passwords by the names of users, of which there is at least one.

    Several threads may use it. A right password is hashed once.
    """

    def __init__(self, hashes: Mapping[bytes, bytes]) -> None:
        self._hashes = dict(hashes)
        # What is remembered of right passwords tells nothing to who reads the memory of others.
        self._secret = os.urandom(32)
        self._right: set[bytes] = set()
        self._checks: dict[bytes, Future[bool]] = {}
        self._lock = threading.Lock()

    def check(self, header: str | None) -> None:
        """Raise RefusedError unless the header field Authorization has a user with its password."""
        user, colon, password = _basic(header).partition(b":")
        if not (colon and self._are_right(user, password)):
            raise RefusedError(
                401, "UNAUTHORIZED", "a user and its password are needed", _CHALLENGE
            )

    def _are_right(self, user: bytes, password: bytes) -> bool:
        known = hmac.digest(self._secret, b"%d:%s%s" % (len(user), user, password), "sha256")
        with self._lock:
            if known in self._right:
                return True
            check = self._checks.get(known)
            if check is not None:
                own = None
            elif len(self._checks) < _MOST_CHECKS:
                own = self._checks[known] = Future()
            else:
                raise RefusedError(429, "TOOMANYREQUESTS", "too many passwords are being checked")
        if own is None:
            # Another request with the same password came before this one.
            return check is not None and check.result()
        right = False
        try:
            right = self._matches(user, password)
        finally:
            with self._lock:
                del self._checks[known]
                if right:
                    self._right.add(known)
            own.set_result(right)
        return right

    def _matches(self, user: bytes, password: bytes) -> bool:
        import bcrypt  # noqa: PLC0415 (only servers with users need it)

        hashed = self._hashes.get(user)
        # What is not a user takes as long as what is one.
        other = next(iter(self._hashes.values()))
        try:
            right = bcrypt.checkpw(password[:_MOST_PASSWORD], hashed or other)
        except ValueError:
            return False
        return right and hashed is not None and len(password) <= _MOST_PASSWORD


def _basic(header: str | None) -> bytes:
    """Return user and password, with a colon between them, or nothing."""
    scheme, _, encoded = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def read_htpasswd(file: Path) -> Passwords:
    """Read the users of a file; raise InputError if there is none, or one without bcrypt."""
    hashes: dict[bytes, bytes] = {}
    for number, line in enumerate(read_bytes(file, "the htpasswd file").splitlines(), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        user, _, hashed = line.partition(b":")
        if not user or _HASH.fullmatch(hashed.strip()) is None:
            raise InputError(
                f"{file}: line {number} is not a user, a colon and a hash of bcrypt; make it with"
                " `htpasswd -nB USER`",
                path=file,
            )
        if user in hashes:
            raise InputError(f"{file}: line {number} has a user of an earlier line", path=file)
        hashes[user] = hashed.strip()
    if not hashes:
        raise InputError(f"{file} has no users", path=file)
    return Passwords(hashes)


def for_users(app: WSGIApplication, passwords: Passwords) -> WSGIApplication:
    """Return an application that answers users of `passwords` as `app` does, and nobody else."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            passwords.check(environ.get("HTTP_AUTHORIZATION"))
        except RefusedError as refused:
            return refuse(refused, environ, start_response)
        return app(environ, start_response)

    return answer
