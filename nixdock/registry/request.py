"""What is asked of a registry."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from msgspec import Struct, field

from nixdock.network.body import Body

__all__ = ["NO_HEAD", "Request", "Scope"]

NO_HEAD: Final = (403, 405, 501)
"""What servers may answer to HEAD that answer GET: proxies, and storage with signed URLs."""


class Scope(Struct, frozen=True):
    """What a request needs to be allowed to do: pull from `repository`, and push if `push` is set.

    `mount_from` is another repository of the registry, to be pulled from as well. Without a
    repository, the request needs nothing but an account.
    """

    repository: str = ""
    push: bool = False
    mount_from: str = ""


class Request(Struct, frozen=True):
    """A request; `target` is a path below the registry's root, or a URL that it has given.

    The status of the answer must be one of `expected`. `subject` says what is asked for, for error
    messages, such as "the blob sha256:…". Unless `retry` is False, the request is sent again if
    that may help; otherwise only if the registry has not begun with it, and an error is `is_broken`
    if the sender may find out what has arrived and go on. With `once`, it is not sent again in any
    case, because it may no longer be right later. With `unasked`, the registry gets the account's
    name and password without having asked for them.
    """

    method: str
    target: str
    scope: Scope = field(default_factory=Scope)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    expected: Collection[int] = (200,)
    subject: str = ""
    retry: bool = True
    once: bool = False
    unasked: bool = False
