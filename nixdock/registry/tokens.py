"""Showing a registry who one is: passwords, and tokens of the server that it names.

The protocol is that of the Docker Registry's token authentication.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from nixdock.errors import RegistryError
from nixdock.network.answers import Response
from nixdock.network.body import Body
from nixdock.network.retrying import TRANSIENT, Setback, retry_after
from nixdock.registry.access import Access, Account
from nixdock.registry.challenges import Challenge
from nixdock.registry.failures import MOST_ERROR, Subject
from nixdock.registry.request import Scope

__all__ = ["Ask", "Tokens", "scope_names"]

_DEFAULT_LIFE: Final = 60.0
_LONGEST_LIFE: Final = 86_400.0
_EARLY: Final = 10.0
_CLIENT: Final = "nixdock"
_NO_POST: Final = frozenset({404, 405})


class Ask(Protocol):
    """Asks the server at a realm; only one that may have credentials is asked."""

    def __call__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        subject: Subject,
        /,
    ) -> Response:
        """Return the answer, whatever its status; raise Setback or RegistryError if none comes."""


class _Realm(Struct, frozen=True):
    """Where tokens come from, and for which service."""

    url: str
    service: str | None = None


class _Grant(Struct, frozen=True):
    """A token in its header, to be renewed after a time."""

    header: str
    renew_at: float


class _TokenAnswer(msgspec.Struct, frozen=True):
    token: str | None = None
    access_token: str | None = None
    expires_in: object = None
    issued_at: object = None


def _is_named(name: str, scope: Scope) -> bool:
    """Tell whether the names of a scope allow what `name` does, in any order of its actions."""
    thing, _, actions = name.rpartition(":")
    return any(
        thing == own and set(actions.split(",")).issubset(allowed.split(","))
        for own, _, allowed in (each.rpartition(":") for each in scope_names(scope))
    )


def scope_names(scope: Scope) -> tuple[str, ...]:
    """Return the names of what a scope allows, as token servers know them."""
    if not scope.repository:
        return ()
    names = [f"repository:{scope.repository}:{'pull,push' if scope.push else 'pull'}"]
    if scope.mount_from and scope.mount_from != scope.repository:
        names.append(f"repository:{scope.mount_from}:pull")
    return tuple(names)


class Tokens:
    """What to send with requests to one registry; several threads may ask at once."""

    def __init__(self, host: str, access: Access, ask: Ask) -> None:
        self._host = host
        self._access = access
        self._ask = ask
        self._realm: _Realm | None = None
        self._is_basic = False
        self._grants: dict[Scope, _Grant] = {}
        # What the registry asked for beyond the names of a scope.
        self._more: dict[Scope, tuple[str, ...]] = {}
        self._accounts: dict[str, Account | None] = {}
        self._locks: dict[tuple[int, Scope | None], threading.Lock] = {}

    def account(self, repository: str) -> Account | None:
        """Return whose credentials are sent for a repository, or None."""
        if self._access.credentials is not None:
            return self._access.credentials
        with self._lock(None):
            if repository not in self._accounts:
                self._accounts[repository] = self._access.find(self._host, repository)
            return self._accounts[repository]

    def used_account(self, repository: str) -> Account | None:
        """Return whose credentials were wanted so far, without looking for any."""
        return self._access.credentials or self._accounts.get(repository)

    def header(self, scope: Scope, subject: Subject) -> str | None:
        """Return what to send at first: nothing until the registry has asked for something."""
        if self._is_basic:
            return self.basic(scope)
        if self._realm is None:
            return None
        return self._granted(self._realm, scope, subject, refused=None)

    @property
    def was_asked(self) -> bool:
        """Whether the registry has asked for credentials, so that it has seen them."""
        return self._is_basic or self._realm is not None

    def basic(self, scope: Scope) -> str | None:
        """Return the account's name and password as a header, or None."""
        account = self.account(scope.repository)
        return None if account is None or not account.password else _basic(account)

    def answer(
        self, challenges: Iterable[Challenge], scope: Scope, refused: str | None, subject: Subject
    ) -> str | None:
        """Return what to send in place of `refused`, which was not enough, or None."""
        known = {each.scheme: each.parameters for each in challenges}
        bearer = known.get("bearer", {})
        if realm := bearer.get("realm"):
            asked = bearer.get("scope", "").split()
            self._more[scope] = tuple(each for each in asked if not _is_named(each, scope))
            self._is_basic = False
            self._realm = _Realm(realm, bearer.get("service"))
            return self._granted(self._realm, scope, subject, refused=refused or "")
        if "basic" in known:
            header = self.basic(scope)
            if header is not None and header != refused:
                self._is_basic = True
                return header
        return None

    def secrets(self, scope: Scope) -> list[str]:
        """Return what must not be shown although a server may repeat it."""
        account = self.used_account(scope.repository)
        own = [] if account is None else [account.password, account.identity_token]
        tokens = [grant.header.partition(" ")[2] for grant in list(self._grants.values())]
        return [*own, *tokens, *([] if account is None else [_basic(account)[6:]])]

    def _granted(
        self, realm: _Realm, scope: Scope, subject: Subject, *, refused: str | None
    ) -> str | None:
        # One thread asks, and the others take what it was given.
        with self._lock(scope):
            grant = self._grants.get(scope)
            now = self._access.pace.now()
            if grant is not None and grant.header != refused and now < grant.renew_at:
                return grant.header
            grant = self._grants[scope] = self._fetch(realm, scope, subject)
            return grant.header

    def _lock(self, scope: Scope | None) -> threading.Lock:
        # A lock that another thread held while this process was forked is never free again.
        return self._locks.setdefault((os.getpid(), scope), threading.Lock())

    def _fetch(self, realm: _Realm, scope: Scope, subject: Subject) -> _Grant:
        account = self.account(scope.repository)
        names = (*scope_names(scope), *self._more.get(scope, ()))
        asked_at = self._access.pace.now()
        response = None
        if account is not None and account.identity_token:
            response = self._refresh(realm, account.identity_token, names, subject)
        if response is None:
            response = self._get(realm, account, names, subject)
        with response:
            try:
                data = response.start(MOST_ERROR)
            except RegistryError as error:
                raise Setback(error, passing=error.is_broken) from None
            if response.status != 200:
                raise self._refusal(response, data, scope, subject)
            return _granted(data, asked_at, subject)

    def _refresh(
        self, realm: _Realm, identity_token: str, names: Sequence[str], subject: Subject
    ) -> Response | None:
        """Exchange an identity token; return None if the server does not know how."""
        form = [
            ("grant_type", "refresh_token"),
            ("service", realm.service or ""),
            ("client_id", _CLIENT),
            ("scope", " ".join(names)),
            ("refresh_token", identity_token),
        ]
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = Body.of(urlencode([(key, value) for key, value in form if value]).encode())
        response = self._ask("POST", realm.url, headers, body, subject)
        if response.status not in _NO_POST:
            return response
        response.close()
        return None

    def _get(
        self, realm: _Realm, account: Account | None, names: Sequence[str], subject: Subject
    ) -> Response:
        query = [] if realm.service is None else [("service", realm.service)]
        query += [("scope", name) for name in names]
        headers = {}
        if account is not None and account.password:
            headers["Authorization"] = _basic(account)
            query.append(("account", account.username))
        separator = "&" if "?" in realm.url else "?"
        url = realm.url + (f"{separator}{urlencode(query)}" if query else "")
        return self._ask("GET", url, headers, None, subject)

    def _refusal(
        self, response: Response, data: bytes, scope: Scope, subject: Subject
    ) -> Exception:
        error = subject.refusal(
            response.status,
            data,
            has_account=self.account(scope.repository) is not None,
            secrets=self.secrets(scope),
        )
        if response.status not in TRANSIENT:
            return error
        after = retry_after(response.headers.get("Retry-After"), self._access.pace.now())
        # The registry itself has not been asked for anything yet.
        return Setback(error, passing=True, after=after, untouched=True)


def _granted(data: bytes, now: float, subject: Subject) -> _Grant:
    """Return the token in an answer, which came at `now`."""
    if len(data) > MOST_ERROR - 1:
        raise subject.error("the answer with the token is too long")
    try:
        document = msgspec.json.decode(data, type=_TokenAnswer)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeError, RecursionError):
        raise subject.error("the answer of the token server has no token") from None
    token = document.token or document.access_token
    # Anything else could end the header and begin another one.
    if not token or not (token.isascii() and token.isprintable()):
        raise subject.error("the answer of the token server has no token")
    life = document.expires_in
    if isinstance(life, bool) or not isinstance(life, int | float) or life <= 0:
        life = _DEFAULT_LIFE
    # A number of any size can be compared, but not every one is a float.
    life = float(min(life, _LONGEST_LIFE))
    age = now - (_moment(document.issued_at) or now)
    # A clock that is wrong must not make a token look old, or never old.
    left = life - age if 0 <= age < life else life
    return _Grant(f"Bearer {token}", now + left - min(_EARLY, left / 10))


def _basic(account: Account) -> str:
    pair = f"{account.username}:{account.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _moment(text: object) -> float | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
