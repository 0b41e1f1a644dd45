"""Who may do what in the fake registry: no one is asked, Basic, or tokens of its own server."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs

import orjson

from .fake_answers import Answer, Received, failure

__all__ = ["Accounts", "Issued"]


@dataclass
class Issued:
    """A token, what it allows, and how often it still may be used."""

    token: str
    scopes: frozenset[str]
    uses: int


@dataclass
class Accounts:
    """The accounts, and how a client shows that it has one.

    With "token", `issued` has every token that was given and `asked` the scopes of every request
    for one. A token may be used `token_uses` times. `shape` changes the answer with the token.
    Challenges name the actions in the order of `push_actions`.
    """

    kind: Literal["open", "basic", "token"] = "open"
    passwords: dict[str, str] = field(default_factory=dict)
    identity_tokens: set[str] = field(default_factory=set)
    anonymous_pull: bool = False
    token_uses: int = 1_000_000
    expires_in: int = 300
    accepts_post: bool = True
    service: str = "fake"
    push_actions: str = "pull,push"
    # Another realm than the registry's own; {url} is the registry's.
    realm: str = "{url}/token"
    shape: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
    issued: list[Issued] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def refusal(self, url: str, received: Received, scopes: Sequence[str]) -> Answer | None:
        """Return the answer to a request that is not allowed, or None."""
        scheme, _, given = received.headers.get("Authorization", "").partition(" ")
        if self.kind == "open":
            return None
        if self.kind == "basic":
            if scheme == "Basic" and self._known(given):
                return None
            return failure(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="fake"')
        error = ""
        if scheme == "Bearer":
            issued = next((each for each in self.issued if each.token == given), None)
            if issued is None or issued.uses <= 0:
                error = "invalid_token"
            elif not issued.scopes.issuperset(scopes):
                error = "insufficient_scope"
            else:
                issued.uses -= 1
                return None
        challenge = f'Bearer realm="{self.realm.format(url=url)}",service="{self.service}"'
        if scopes:
            challenge += f',scope="{" ".join(_with_pull(scopes, self.push_actions))}"'
        if error:
            challenge += f',error="{error}"'
        return failure(401, "UNAUTHORIZED", WWW_Authenticate=challenge)

    def allows(self, received: Received, scope: str) -> bool:
        """Whether a request that is allowed also has another scope."""
        token = received.headers.get("Authorization", "").partition(" ")[2]
        return self.kind != "token" or any(
            scope in each.scopes for each in self.issued if each.token == token
        )

    def token(self, url: str, received: Received) -> Answer:
        """Answer a request for a token."""
        authorization = received.headers.get("Authorization", "")
        query: Mapping[str, Sequence[str]] = received.query
        if received.method == "POST":
            if not self.accepts_post:
                return failure(405, "UNSUPPORTED")
            query = parse_qs(received.body.decode())
            refresh = next(iter(query.get("refresh_token", [])), "")
            if refresh not in self.identity_tokens:
                return failure(401, "UNAUTHORIZED", "the identity token is not known")
            account = True
        else:
            account = self._known(authorization.removeprefix("Basic "))
            if authorization and not account:
                return failure(401, "UNAUTHORIZED", "incorrect username or password")
        wanted = [word for each in query.get("scope", []) for word in each.split()]
        self.asked.append(wanted)
        scopes = set()
        for each in wanted:
            resource, _, actions = each.rpartition(":")
            granted = {"pull", "push"} if account else {"pull"} if self.anonymous_pull else set()
            scopes |= {f"{resource}:{action}" for action in {*actions.split(",")} & granted}
        token = f"secret-token-{next(self._numbers)}"
        self.issued.append(Issued(token, frozenset(scopes), self.token_uses))
        document = self.shape({"token": token, "expires_in": self.expires_in})
        return Answer(200, {"Content-Type": "application/json"}, orjson.dumps(document))

    def _known(self, encoded: str) -> bool:
        name, _, password = base64.b64decode(encoded).decode().partition(":")
        return bool(name) and self.passwords.get(name) == password


def _with_pull(scopes: Sequence[str], actions: str) -> list[str]:
    return [f"{each.removesuffix(':push')}:{actions}" if each.endswith(":push") else each
            for each in scopes]  # fmt: skip
