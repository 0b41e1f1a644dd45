"""What is said about requests that failed: where, what, why, and what to do."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, Final

import orjson
from msgspec import Struct

from nixdock.errors import RegistryError
from nixdock.system.text import shown

__all__ = ["MOST_ERROR", "Subject", "without_secrets"]

MOST_ERROR: Final = 1 << 20
"""The largest number of bytes that are read of an answer that reports an error."""

_MOST_TEXT: Final = 300
_MOST_ERRORS: Final = 3
_DIGEST: Final = re.compile(r"sha(?:256|512):[0-9a-f]{64,128}")
_SHORTEST_SECRET: Final = 6

_ADVICE: Final = {
    407: "the proxy wants a username and a password in its URL",
    413: "the registry, or a proxy before it, limits the size of uploads",
}
_TROUBLES: Final = (500, 502, 503, 504)
_ELSEWHERE: Final = {
    **dict.fromkeys(_TROUBLES, "the fault is that host's: try again later"),
    413: "that host limits the size of uploads",
    429: "it limits the number of requests: try again later",
}
_WITH_ACCOUNT: Final = {
    401: "it refuses the credentials: {login} to store others",
    403: "the account may not do this: {login} to use another one",
    429: "it limits the number of requests: try again later",
}
_WITHOUT_ACCOUNT: Final = {
    401: "it wants credentials: {login}",
    403: "this may need an account: {login}",
    429: "it limits the number of requests: try again later, or {login} for a higher limit",
}


class Subject(Struct, frozen=True):
    """What a request is about: a registry, perhaps a repository, and something in it."""

    host: str
    repository: str = ""
    what: str = ""

    @property
    def server(self) -> str:
        """What kind of server it is."""
        return "the registry"

    @property
    def place(self) -> str:
        """The registry and the repository."""
        return f"{self.host}/{self.repository}" if self.repository else self.host

    def error(
        self,
        message: str,
        *,
        status: int | None = None,
        codes: Sequence[str] = (),
        is_broken: bool = False,
    ) -> RegistryError:
        """Return an error that names the place and the thing."""
        digest = _DIGEST.search(self.what)
        return RegistryError(
            ": ".join(filter(None, (self.place, self.what, message))),
            place=self.place,
            digest=digest[0] if digest else None,
            status=status,
            codes=codes,
            is_broken=is_broken,
        )

    def refusal(
        self,
        status: int,
        data: bytes,
        *,
        has_account: bool = False,
        is_broken: bool = False,
        secrets: Collection[str] = (),
        elsewhere: str | None = None,
    ) -> RegistryError:
        """Return the error for an answer with a status that was not expected and this body.

        `elsewhere` is who answered, if the registry led to another host, which knows no account.
        """
        codes, text = _reported(data)
        code = next(iter(codes), None)
        said = " ".join(filter(None, (str(status), shown(code or "", 60))))
        who = f"{shown(elsewhere)}, to which the registry leads," if elsewhere else "the registry"
        message = f"{who} answers {said}"
        if text := shown(without_secrets(" ".join(text.split()), secrets), _MOST_TEXT):
            message += f": {text}"
        advice = (
            _ELSEWHERE.get(status, "") if elsewhere else self._advice(status, code, has_account)
        )
        if advice:
            message += f"; {advice}"
        return self.error(message, status=status, codes=codes, is_broken=is_broken)

    def _advice(self, status: int, code: str | None, has_account: bool) -> str:
        login = f'run "nixdock login {self.host}"'
        if status in _TROUBLES:
            return "the fault is the registry's: try again later"
        if status == 404:
            private = "there is no such repository, or it is private"
            return private if code == "NAME_UNKNOWN" else ""
        known = _WITH_ACCOUNT if has_account else _WITHOUT_ACCOUNT
        return known.get(status, _ADVICE.get(status, "")).format(login=login)


def without_secrets(text: str, secrets: Collection[str]) -> str:
    """Return a text without secrets that a server may repeat in its answer."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "...")
    return text


def _reported(data: bytes) -> tuple[list[str], str]:
    """Return the codes, and the text, of the errors that a body reports."""
    try:
        document: Any = orjson.loads(data)
    except ValueError:
        # Web pages, which proxies answer with, are not for terminals.
        is_page = data.lstrip()[:1] == b"<"
        return [], "" if is_page else data[: 4 * _MOST_TEXT].decode("utf-8", "replace")
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        errors = [document]
    known = [each for each in errors if isinstance(each, dict)][:_MOST_ERRORS]
    codes = [str(each["code"]) for each in known if each.get("code")]
    texts = [str(each.get("message") or each.get("details") or "") for each in known]
    return codes, "; ".join(filter(None, texts))
