"""What a client asks of an answer: only what it lacks, or parts (RFC 9110, 13 and 14)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from nixdock.runtime.byte_range import UnsatisfiableError, part_of, several_parts_of
from nixdock.runtime.catalogue import Document
from nixdock.runtime.replies import RefusedError, Reply
from nixdock.runtime.several_parts import SeveralParts

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["as_asked"]

# A weak tag counts as a strong one.
_TAGS: Final = re.compile(r'"([^"]*)"')
_NOT_MODIFIED: Final = ("Docker-Content-Digest", "ETag")


def as_asked(reply: Reply, environ: WSGIEnvironment) -> Reply:
    """Return an answer as the request's If-None-Match, If-Range and Range want it.

    Answers without an ETag stay as they are. Raise RefusedError if a range is not there.
    """
    tag = reply.headers.get("ETag")
    if tag is None:
        return reply
    if _has(environ.get("HTTP_IF_NONE_MATCH", ""), tag):
        headers = {name: reply.headers[name] for name in _NOT_MODIFIED}
        return Reply(304, Document(b""), headers, blob=reply.blob)
    # Other methods have no ranges. What has a tag never changes: only a wrong one, of an earlier
    # answer, makes a range void.
    if (
        "Accept-Ranges" in reply.headers
        and environ["REQUEST_METHOD"] == "GET"
        and environ.get("HTTP_IF_RANGE", tag) == tag
    ):
        return _parts(reply, environ.get("HTTP_RANGE"))
    return reply


def _has(tags: str, tag: str) -> bool:
    return tags.strip() == "*" or tag.strip('"') in _TAGS.findall(tags)


def _parts(reply: Reply, asked: str | None) -> Reply:
    size = reply.body.size
    if several := several_parts_of(asked, size):
        # No blob contains its own digest.
        boundary = reply.headers["Docker-Content-Digest"].replace(":", "-")
        parts = SeveralParts(reply.body, several, boundary)
        return Reply(
            206, parts, {**reply.headers, "Content-Type": parts.media_type}, blob=reply.blob
        )
    try:
        part = part_of(asked, size)
    except UnsatisfiableError:
        headers = {"Content-Range": f"bytes */{size}"}
        message = "the range is malformed, or not in the blob"
        raise RefusedError(416, "RANGE_INVALID", message, headers) from None
    if part is None:
        return reply
    content_range = f"bytes {part.start}-{part.start + part.size - 1}/{size}"
    return Reply(
        206, reply.body, {**reply.headers, "Content-Range": content_range}, part, reply.blob
    )
