"""Requests to a registry, and its answers."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Container, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urljoin, urlsplit

from msgspec.structs import replace

from nixdock.errors import RegistryError
from nixdock.network.addresses import is_local_name
from nixdock.network.answers import Response
from nixdock.network.body import Body
from nixdock.network.following import Outgoing, check_target, follow
from nixdock.network.redirects import Origin, UnsafeTargetError
from nixdock.network.retrying import TRANSIENT, Patience, Setback, persist, retry_after
from nixdock.oci.registry_reference import DOCKER_HUB
from nixdock.registry.access import Access, Account
from nixdock.registry.challenges import parse_challenges
from nixdock.registry.failures import MOST_ERROR, Subject
from nixdock.registry.request import Request
from nixdock.registry.tokens import Tokens
from nixdock.system.text import shown

if TYPE_CHECKING:
    from nixdock.network.connections import Connections
    from nixdock.registry.root import Root

__all__ = ["MOST_ERROR", "Response", "Transport"]

log = logging.getLogger(__name__)

# The host that answers for Docker Hub.
_HUB_ADDRESS: Final = "registry-1.docker.io"
_WARNING: Final = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_MOST_WARNINGS: Final = 20


class Transport:
    """A registry and its connections; several threads may use it at once."""

    def __init__(self, host: str, access: Access | None = None) -> None:
        self.host = host
        self.access = access or Access()
        self._tokens = Tokens(host, self.access, self._ask_realm)
        self._warnings: set[str] = set()
        self._made: dict[str, Connections] = {}

    @property
    def _connections(self) -> Connections:
        # Of those that several threads make at once, all take the first: a cached property has no
        # lock, and one would stay locked in a process that is forked meanwhile.
        return self._made.get("") or self._made.setdefault("", self._new_connections())

    def _new_connections(self) -> Connections:
        # urllib3 is slow to import, and not needed before the first request.
        from nixdock.network.connections import Connections  # noqa: PLC0415

        name = Origin.of(f"https://{self._address}").host
        return Connections(name, self.access, Subject(self.host).error, self.host)

    @cached_property
    def _root(self) -> Root:
        from nixdock.registry.root import Root  # noqa: PLC0415 (the same)

        return Root(self._address, self._connections, self.access)

    @property
    def _address(self) -> str:
        return _HUB_ADDRESS if self.host == DOCKER_HUB else self.host

    @property
    def request_count(self) -> int:
        """How many requests were answered, also those for tokens, by redirects, and again."""
        return self._connections.answered

    @property
    def attempts(self) -> int:
        """How often something is tried before it is given up."""
        return self.access.attempts

    def wait(self, attempt: int) -> None:
        """Wait before the attempt after `attempt`, the longer the more there were."""
        self.access.pace.sleep(self.access.pace.delay(attempt))

    def patience(self, attempts: int | None = None) -> Patience:
        """Return how often, and for how long, something is tried that takes several requests."""
        return Patience(self.access.pace, self.attempts if attempts is None else attempts)

    def send(self, request: Request, patience: Patience | None = None) -> Response:
        """Send a request and return the answer; its status is an expected one.

        That it is sent again costs `patience`, which it has for itself if none is given.

        Raise RegistryError if the registry can't be reached or answers with another status. The
        error is `is_broken` if the request may be sent again, when `retry` was False. Raise
        ContentError if the body can't be read.
        """
        if request.once:
            patience = self.patience(1)
        patience = patience or self.patience()
        try:
            return persist(lambda: self._attempt(request), patience, retry=request.retry)
        except RegistryError as error:
            if request.retry:
                # It has been tried as often as it may be.
                error.is_broken = False
            raise

    def check_login(self, credentials: Account) -> None:
        """Raise RegistryError, with the status 401, if the registry refuses credentials.

        Raise it, too, if it does not answer itself: another host says nothing about them.
        """
        asking = Transport(self.host, dataclasses.replace(self.access, credentials=credentials))
        asking._check_login()

    def _check_login(self) -> None:
        request = Request("GET", "/v2/")
        self._ask_itself(request)
        if not self._tokens.was_asked:
            # It lets everybody in, so that it has not seen the credentials yet.
            self._ask_itself(replace(request, unasked=True))

    def _ask_itself(self, request: Request) -> None:
        """Raise RegistryError if the registry lets another host answer."""
        with self.send(request) as response:
            subject = self._subject(request)
            answering, home = (Origin.of(url) for url in (response.url, self._root.url(subject)))
            if answering != home:
                raise subject.error(
                    f"{answering.place} answers in place of the registry, so that it is not known"
                    " whether the credentials are right; log in to the registry itself"
                )

    def _subject(self, request: Request) -> Subject:
        return Subject(self.host, request.scope.repository, request.subject)

    def _attempt(self, request: Request) -> Response:
        subject = self._subject(request)
        header = None
        try:
            root = self._root.url(subject)
            url = urljoin(f"{root}/", request.target)
            outgoing = Outgoing(request.method, url, request.headers, request.body, subject)
            home = Origin.of(root)
            is_home = Origin.of(url) == home
            if is_home:
                header = self._tokens.header(request.scope, subject)
                if header is None and request.unasked:
                    header = self._tokens.basic(request.scope)
            else:
                self._check_target(home, Origin.of(url))
            response = self._follow(outgoing, home, header, request.expected)
        except UnsafeTargetError as error:
            raise subject.error(f"the registry's word is not followed: {error}") from None
        if response.status == 401 and is_home and Origin.of(response.url) == home:
            response = self._authorize(response, request, outgoing, home, header)
        self._warn(response)
        if response.status in request.expected:
            return response
        with response:
            raise self._refusal(response, request)

    def _authorize(
        self,
        response: Response,
        request: Request,
        outgoing: Outgoing,
        home: Origin,
        refused: str | None,
    ) -> Response:
        """Send a request again as the registry asks for, if that is something new."""
        challenges = parse_challenges(response.headers.get("WWW-Authenticate", ""))
        try:
            header = self._tokens.answer(challenges, request.scope, refused, self._subject(request))
            if header is None or header == refused:
                return response
            response.close()
            return self._follow(outgoing, home, header, request.expected)
        except UnsafeTargetError as error:
            response.close()
            message = f"the registry's word is not followed: {error}"
            raise outgoing.subject.error(message) from None
        except BaseException:
            response.close()
            raise

    def _follow(
        self, outgoing: Outgoing, home: Origin, header: str | None, expected: Container[int] = ()
    ) -> Response:
        return follow(self._connections, outgoing, home, header, expected)

    def _check_target(self, at: Origin, target: Origin) -> None:
        check_target(self._connections, at, target)

    def _ask_realm(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        subject: Subject,
    ) -> Response:
        """Ask a token server, if it may be asked by this registry's word."""
        home = Origin.of(self._root.url(subject))
        realm = Origin.of(url)
        if realm.scheme == "http":
            trusted = self.access.insecure or is_local_name(realm.host) or realm.host == home.host
            if home.scheme != "http" or not trusted:
                raise subject.error(
                    f"the registry's token server, {realm.host}, has plain HTTP, by which no"
                    " password may be sent"
                )
        self._check_target(home, realm)
        header = headers.get("Authorization")
        others = {key: value for key, value in headers.items() if key != "Authorization"}
        outgoing = Outgoing(method, url, others, body, subject)
        # A form with an identity token is not sent on to wherever else.
        final = range(300, 400) if body is not None else ()
        return self._follow(outgoing, realm, header, final)

    def _refusal(self, response: Response, request: Request) -> Setback:
        status = response.status
        query = parse_qsl(urlsplit(response.url).query)
        passing = status in TRANSIENT
        try:
            data = response.start(MOST_ERROR)
        except RegistryError:
            # The status says enough.
            data = b""
        subject = self._subject(request)
        answering = Origin.of(response.url)
        is_home = answering == Origin.of(self._root.url(subject))
        error = subject.refusal(
            status,
            data,
            has_account=self._tokens.used_account(request.scope.repository) is not None,
            is_broken=passing,
            secrets=[*self._tokens.secrets(request.scope), *(value for _, value in query)],
            elsewhere=None if is_home else answering.place,
        )
        after = retry_after(response.headers.get("Retry-After"), self.access.pace.now())
        return Setback(error, passing=passing, after=after, untouched=status == 429)

    def _warn(self, response: Response) -> None:
        """Log what the registry warns of, each warning once."""
        for text in _WARNING.findall(response.headers.get("Warning", "")):
            if text not in self._warnings and len(self._warnings) < _MOST_WARNINGS:
                self._warnings.add(text)
                plain = re.sub(r"\\(.)", r"\1", text)
                log.warning("%s warns: %s", self.host, shown(plain))
