"""Answers before they are sent, and errors in the form of the distribution-spec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, field

from nixdock.oci.descriptor import canonical_json
from nixdock.runtime.byte_range import Part
from nixdock.runtime.catalogue import Document, ServedBlob

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

__all__ = [
    "STATUS",
    "RefusedError",
    "Reply",
    "common_headers",
    "error_document",
    "json_reply",
    "refuse",
]

STATUS: Final = {
    200: "200 OK",
    206: "206 Partial Content",
    304: "304 Not Modified",
    400: "400 Bad Request",
    401: "401 Unauthorized",
    403: "403 Forbidden",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    416: "416 Range Not Satisfiable",
    429: "429 Too Many Requests",
    503: "503 Service Unavailable",
}
"""The status lines of all answers."""


class Reply(Struct, frozen=True):
    """What to answer; `part` is the part of `body` that is sent, or None for all of it.

    `blob` is the digest of the blob that was asked for.
    """

    status: int
    body: ServedBlob
    headers: Mapping[str, str] = field(default_factory=dict)
    part: Part | None = None
    blob: str | None = None


def common_headers(reply: Reply) -> dict[str, str]:
    """Return the headers of an answer, its own and those that all have."""
    size = reply.part.size if reply.part else reply.body.size
    return {
        # It would be that of what the client has.
        **({} if reply.status == 304 else {"Content-Length": str(size)}),
        "Docker-Distribution-Api-Version": "registry/2.0",
        "X-Content-Type-Options": "nosniff",
        **reply.headers,
    }


class RefusedError(Exception):
    """A request that gets an error: an HTTP status, and a code of the distribution-spec."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        content = {"Content-Type": "application/json", **headers}
        self.reply = Reply(status, Document(error_document(code, message)), content)


def refuse(
    refused: RefusedError, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Answer a request with an error, and return the body."""
    reply = refused.reply
    start_response(STATUS[reply.status], [*common_headers(reply).items()])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [reply.body.open().read()]


def error_document(code: str, message: str) -> bytes:
    """Return the JSON of an error."""
    return canonical_json({"errors": [{"code": code, "message": message}]})


def json_reply(
    value: Any,
    content_type: str = "application/json",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Reply:
    """Return an answer that is a JSON document."""
    return Reply(200, Document(canonical_json(value)), {"Content-Type": content_type, **headers})
