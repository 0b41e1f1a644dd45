"""Lists that a registry sends in pages, each of which leads to the next one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from nixdock.errors import RegistryError
from nixdock.oci.untrusted_json import MOST_JSON
from nixdock.registry.link_header import next_link
from nixdock.registry.repository import Repository
from nixdock.registry.request import Request

__all__ = ["Page", "read_pages"]

# With the 100 tags that registries have on a page, for ten times as many as any repository has.
_MOST_PAGES: Final = 1000
# In bytes of all pages.
_MOST_LIST: Final = 64 << 20


class Page(Struct, frozen=True):
    """A page of a list, with the status and the headers of the answer."""

    status: int
    headers: Mapping[str, str]
    data: bytes


def read_pages(repository: Repository, request: Request) -> Iterator[Page]:
    """Yield the pages of the list that a request asks for, at least one.

    Raise RegistryError if the registry does not send them, or if they do not end.
    """
    subject = request.subject
    left = _MOST_LIST
    target = request.target
    for _ in range(_MOST_PAGES):
        with repository.transport.send(replace(request, target=target)) as response:
            page = Page(response.status, response.headers, response.whole(MOST_JSON))
            link = next_link(response.headers.get("Link", ""))
            following = None if link is None else response.linked(link)
            came_from = response.url
        yield page
        left -= len(page.data)
        if following is None:
            return
        if following == came_from:
            raise _endless(repository, subject, "a page leads to itself")
        if left < 0:
            raise _endless(repository, subject, f"it has more than {_MOST_LIST} bytes")
        target = following
    raise _endless(repository, subject, f"it has more than {_MOST_PAGES} pages")


def _endless(repository: Repository, subject: str, message: str) -> RegistryError:
    # There was an answer, which is what is wrong.
    return RegistryError(
        f"{repository.place}: {subject}: {message}", place=repository.place, status=200
    )
