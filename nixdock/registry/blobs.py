"""Blobs of a repository: asking for them, reading and uploading them."""

from __future__ import annotations

import io
from typing import Final

from msgspec import Struct

from nixdock.errors import RegistryError
from nixdock.network.body import Body, ContentError
from nixdock.network.resumed import CONTENT_RANGE, ResumedReader
from nixdock.registry.repository import Repository
from nixdock.registry.request import Request
from nixdock.registry.transport import Response

__all__ = ["BlobReader", "has_blob", "mount_blob", "start_of_blob", "upload_blob"]

_DATA: Final = "application/octet-stream"
# More than of any number of bytes.
_MOST_DIGITS: Final = 18


def has_blob(repository: Repository, digest: str) -> bool:
    """Tell whether a repository has a blob."""
    request = Request(
        "HEAD",
        repository.path("blobs", digest),
        repository.pulling(),
        expected=(200, 404),
        subject=f"the blob {digest}",
    )
    with repository.transport.send(request) as response:
        return response.status == 200


def start_of_blob(repository: Repository, digest: str, size: int) -> bytes:
    """Return the first bytes of a blob, `size` of them or all if there are fewer."""
    with _get(repository, digest, f"bytes=0-{size - 1}") as response:
        buffer = bytearray(size)
        view = memoryview(buffer)
        count = 0
        while count < size and (more := response.readinto(view[count:])):
            count += more
        return bytes(buffer[:count])


def _get(repository: Repository, digest: str, byte_range: str | None) -> Response:
    return repository.transport.send(
        Request(
            "GET",
            repository.path("blobs", digest),
            repository.pulling(),
            headers={} if byte_range is None else {"Range": byte_range},
            expected=(200, 206),
            subject=f"the blob {digest}",
        )
    )


class BlobReader(ResumedReader):
    """The bytes of a blob from `start` on, unverified; reading may raise RegistryError."""

    def __init__(self, repository: Repository, digest: str, start: int = 0) -> None:
        def ask(at: int) -> Response:
            return _get(repository, digest, f"bytes={at}-" if at else None)

        def lacking(at: int) -> RegistryError:
            return RegistryError(
                f"{repository.place}: the blob {digest}: the registry does not send the bytes from"
                f" {at} on",
                place=repository.place,
                digest=digest,
            )

        transport = repository.transport
        super().__init__(ask, transport.attempts, transport.wait, lacking, at=start)

    def seekable(self) -> bool:
        """Return True: the registry is asked for the bytes from any position on."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move the position, counted from the start of the blob or from the position before."""
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end of the blob is not known")
        self.move(offset + (self.at if whence == io.SEEK_CUR else 0))
        return self.at

    def tell(self) -> int:
        """Return the position."""
        return self.at


def mount_blob(repository: Repository, digest: str, mount_from: str) -> str | None:
    """Take a blob over from another repository of the same registry.

    Return None if that was done, or the location of an upload that the registry began instead.
    Raise RegistryError if the registry refuses it, or fails once.
    """
    query = f"?mount={digest}&from={mount_from}"
    with repository.transport.send(
        Request(
            "POST",
            repository.path("blobs", "uploads/") + query,
            repository.pushing(mount_from),
            expected=(201, 202),
            subject=f"the blob {digest} of {mount_from}",
            # To upload the blob is better than to insist.
            retry=False,
        )
    ) as response:
        return None if response.status == 201 else _location(repository, response)


def upload_blob(
    repository: Repository, digest: str, body: Body, location: str | None = None
) -> None:
    """Upload a blob, at the location of an upload that has begun or else of a new one.

    It is sent as a whole. If the transfer breaks, the rest is sent alone, from where the registry
    says that it stopped; all of it is sent again to registries that know no such thing. Raise
    RegistryError if that fails, too, and at once what reading the body raises.
    """
    try:
        _upload(repository, digest, body, location)
    except ContentError as error:
        raise error.error from None


class _Session(Struct, frozen=True):
    """An upload that has begun: where it goes on, and how many bytes a piece has at least.

    Only the last piece, with which the upload ends, may have fewer.
    """

    location: str
    least: int = 0


# The upload is unknown, or its state is not what it should be: begin another one.
_NEW_UPLOAD: Final = frozenset({404, 416})
# The registry does not say what has come, or takes no pieces (Google's and Amazon's, for example).
_NO_PIECES: Final = frozenset({400, 405, 411, 413, 415, 501})


def _upload(repository: Repository, digest: str, body: Body, location: str | None) -> None:
    attempts = repository.transport.attempts
    session = None if location is None else _Session(location)
    sent = 0
    for attempt in range(1, attempts + 1):
        goes_on = session is not None and attempt > 1
        try:
            if session is not None and attempt > 1:
                session, sent = _progress(repository, session, digest)
                # Without a byte, or with more than there are, the upload is better begun anew.
                session = session if 0 < sent <= body.size else None
            if session is None:
                goes_on = False
                # It may have arrived all the same, and only the answer that says so has not.
                if attempt > 1 and has_blob(repository, digest):
                    return
                session, sent = _begin(repository, digest), 0
            if 0 < sent < body.size and body.size - sent >= session.least:
                session = _send_rest(repository, session, digest, body, sent)
                sent = body.size
            _finish(repository, session, digest, body, sent)
        except RegistryError as error:
            is_lost = error.status in _NEW_UPLOAD or (goes_on and error.status in _NO_PIECES)
            if attempt == attempts or not (error.is_broken or is_lost):
                raise
            repository.transport.wait(attempt)
            if is_lost:
                session = None
        else:
            return


def _begin(repository: Repository, digest: str) -> _Session:
    with repository.transport.send(
        Request(
            "POST",
            repository.path("blobs", "uploads/"),
            repository.pushing(),
            body=Body.of(b""),
            expected=(202,),
            subject=f"the upload of the blob {digest}",
        )
    ) as response:
        return _session(repository, response)


def _finish(repository: Repository, session: _Session, digest: str, body: Body, sent: int) -> None:
    """End an upload with what is left of the body, after the bytes that were sent."""
    separator = "&" if "?" in session.location else "?"
    rest, headers = body, {"Content-Type": _DATA}
    if sent == body.size:
        rest = Body.of(b"")
    elif sent:
        rest = body.rest(sent)
        headers["Content-Range"] = f"{sent}-{body.size - 1}"
    with repository.transport.send(
        Request(
            "PUT",
            f"{session.location}{separator}digest={digest}",
            repository.pushing(),
            headers=headers,
            body=rest,
            expected=(201, 204),
            subject=f"the upload of the blob {digest}",
            # A part may have arrived: the registry is asked first.
            retry=False,
        )
    ) as response:
        stated = response.headers.get("Docker-Content-Digest")
    if stated and stated.startswith("sha256:") and stated != digest:
        raise RegistryError(
            f"{repository.place}: the registry stored the blob {digest} as {stated}",
            place=repository.place,
            digest=digest,
        )


def _progress(repository: Repository, session: _Session, digest: str) -> tuple[_Session, int]:
    """Ask how many bytes of an upload have come, and where it goes on."""
    with repository.transport.send(
        Request(
            "GET",
            session.location,
            repository.pushing(),
            expected=(200, 202, 204),
            subject=f"the upload of the blob {digest}",
        )
    ) as response:
        match = CONTENT_RANGE.match(response.headers.get("Range", ""))
        # `0-0` says that nothing has come, or a single byte: registries don't tell which.
        sent = int(match[2]) + 1 if match and match[2] != "0" else 0
        return _session(repository, response, session), sent


def _send_rest(
    repository: Repository, session: _Session, digest: str, body: Body, start: int
) -> _Session:
    rest = body.rest(start)
    with repository.transport.send(
        Request(
            "PATCH",
            session.location,
            repository.pushing(),
            headers={"Content-Type": _DATA, "Content-Range": f"{start}-{body.size - 1}"},
            body=rest,
            expected=(201, 202, 204),
            subject=f"the upload of the blob {digest}",
            retry=False,
        )
    ) as response:
        return _session(repository, response, session)


def _session(
    repository: Repository, response: Response, before: _Session | None = None
) -> _Session:
    """Return how an upload goes on, as an answer says, or else as was said `before`."""
    stated = response.headers.get("OCI-Chunk-Min-Length", "")
    is_number = stated.isascii() and stated.isdecimal() and len(stated) <= _MOST_DIGITS
    known = 0 if before is None else before.least
    default = None if before is None else before.location
    location = _location(repository, response, default)
    return _Session(location, int(stated) if is_number else known)


def _location(repository: Repository, response: Response, default: str | None = None) -> str:
    location = response.headers.get("Location")
    if location:
        return response.linked(location)
    if default is not None:
        return default
    raise RegistryError(
        f"{repository.place}: the registry began an upload, but does not say where",
        place=repository.place,
    )
