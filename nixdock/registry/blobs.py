"""Blobs of a repository: asking for them, reading and uploading them."""

from __future__ import annotations

import io
from collections.abc import Collection
from typing import Final

from nixdock.errors import RegistryError
from nixdock.network.body import Body, ContentError
from nixdock.network.resumed import CONTENT_RANGE, MUCH, ResumedReader
from nixdock.network.retrying import TRANSIENT, Patience
from nixdock.registry.repository import Repository
from nixdock.registry.request import NO_HEAD, Request
from nixdock.registry.transport import Response
from nixdock.registry.upload_session import UploadSession, location_of, session_of

__all__ = ["BlobReader", "has_blob", "mount_blob", "start_of_blob", "upload_blob"]

_DATA: Final = "application/octet-stream"


def has_blob(
    repository: Repository, digest: str, patience: Patience | None = None, *, insist: bool = True
) -> bool:
    """Tell whether a repository has a blob.

    If the registry does not answer HEAD, it is asked by GET as well, but only with `insist`.
    """
    request = Request(
        "HEAD",
        repository.path("blobs", digest),
        repository.pulling(),
        expected=(200, 404, *(NO_HEAD if insist else ())),
        subject=f"the blob {digest}",
    )
    with repository.transport.send(request, patience) as response:
        status = response.status
    if status in NO_HEAD:
        with _get(repository, digest, "bytes=0-0", patience, (200, 206, 404, 416)) as response:
            # An empty blob has no first byte.
            status = response.status
    return status != 404


def start_of_blob(repository: Repository, digest: str, size: int) -> bytes:
    """Return the first bytes of a blob, `size` of them or all if there are fewer."""
    with _get(repository, digest, f"bytes=0-{size - 1}") as response:
        buffer = bytearray(size)
        view = memoryview(buffer)
        count = 0
        while count < size and (more := response.readinto(view[count:])):
            count += more
        return bytes(buffer[:count])


def _get(
    repository: Repository,
    digest: str,
    byte_range: str | None,
    patience: Patience | None = None,
    expected: Collection[int] = (200, 206),
) -> Response:
    return repository.transport.send(
        Request(
            "GET",
            repository.path("blobs", digest),
            repository.pulling(),
            headers={} if byte_range is None else {"Range": byte_range},
            expected=expected,
            subject=f"the blob {digest}",
        ),
        patience,
    )


class BlobReader(ResumedReader):
    """The bytes of a blob from `start` on, unverified; reading may raise RegistryError."""

    def __init__(self, repository: Repository, digest: str, start: int = 0) -> None:
        def ask(at: int, patience: Patience) -> Response:
            if not at:
                return _get(repository, digest, None, patience)
            return _get(repository, digest, f"bytes={at}-", patience, expected=(200, 206, 416))

        def lacking(at: int) -> RegistryError:
            return RegistryError(
                f"{repository.place}: the blob {digest}: the registry does not send the bytes from"
                f" {at} on",
                place=repository.place,
                digest=digest,
            )

        super().__init__(ask, repository.transport.patience, lacking, at=start)

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
        return None if response.status == 201 else location_of(response, repository.place)


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


# The upload is unknown, or its state is not what it should be: begin another one.
_NEW_UPLOAD: Final = frozenset({404, 416})
# The registry does not say what has come, or takes no pieces (Google's and Amazon's, for example).
_NO_PIECES: Final = frozenset({400, 405, 411, 413, 415, 501})


def _upload(repository: Repository, digest: str, body: Body, location: str | None) -> None:
    patience = repository.transport.patience()
    session = None if location is None else UploadSession(location)
    sent = most = 0
    has_failed = is_silent = False
    while True:
        goes_on = session is not None and has_failed
        try:
            if session is not None and has_failed:
                try:
                    session, sent = _progress(repository, session, digest, patience)
                except RegistryError as error:
                    # It may be in trouble for a moment, in which all that has come is not lost.
                    if error.status is None or (error.status in TRANSIENT and not is_silent):
                        is_silent = error.status is not None
                        raise
                    session, sent = None, 0
                # Without a byte, or with more than there are, the upload is better begun anew.
                session = session if 0 < sent <= body.size else None
                if session is not None and sent - most >= MUCH:
                    patience = repository.transport.patience()
                most = max(most, sent)
            if session is None:
                goes_on = False
                # It may have arrived all the same, and only the answer that says so has not.
                if has_failed and has_blob(repository, digest, patience):
                    return
                session, sent = _begin(repository, digest, patience), 0
            if 0 < sent < body.size and body.size - sent >= session.least:
                session = _send_rest(repository, session, digest, body.rest(sent), sent, patience)
                sent = body.size
            _finish(repository, session, digest, body, sent, patience)
        except RegistryError as error:
            is_lost = error.status in _NEW_UPLOAD or (goes_on and error.status in _NO_PIECES)
            if not ((error.is_broken or is_lost) and patience.lasts(error.after)):
                raise
            has_failed = True
            if is_lost:
                session = None
        else:
            return


def _begin(repository: Repository, digest: str, patience: Patience) -> UploadSession:
    with repository.transport.send(
        Request(
            "POST",
            repository.path("blobs", "uploads/"),
            repository.pushing(),
            body=Body.of(b""),
            expected=(202,),
            subject=f"the upload of the blob {digest}",
        ),
        patience,
    ) as response:
        return session_of(response, repository.place)


def _finish(
    repository: Repository,
    session: UploadSession,
    digest: str,
    body: Body,
    sent: int,
    patience: Patience,
) -> None:
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
        ),
        patience,
    ) as response:
        stated = response.headers.get("Docker-Content-Digest")
    if stated and stated.startswith("sha256:") and stated != digest:
        raise RegistryError(
            f"{repository.place}: the registry stored the blob {digest} as {stated}",
            place=repository.place,
            digest=digest,
        )


def _progress(
    repository: Repository, session: UploadSession, digest: str, patience: Patience
) -> tuple[UploadSession, int]:
    """Ask how many bytes of an upload have come, and where it goes on."""
    with repository.transport.send(
        Request(
            "GET",
            session.location,
            repository.pushing(),
            expected=(200, 202, 204),
            subject=f"the upload of the blob {digest}",
            # Rather than to insist, the upload is begun anew.
            retry=False,
        ),
        patience,
    ) as response:
        match = CONTENT_RANGE.match(response.headers.get("Range", ""))
        # `0-0` says that nothing has come, or a single byte: registries don't tell which.
        sent = int(match[2]) + 1 if match and match[2] != "0" else 0
        return session_of(response, repository.place, session), sent


def _send_rest(
    repository: Repository,
    session: UploadSession,
    digest: str,
    rest: Body,
    start: int,
    patience: Patience,
) -> UploadSession:
    with repository.transport.send(
        Request(
            "PATCH",
            session.location,
            repository.pushing(),
            headers={"Content-Type": _DATA, "Content-Range": f"{start}-{start + rest.size - 1}"},
            body=rest,
            expected=(201, 202, 204),
            subject=f"the upload of the blob {digest}",
            retry=False,
        ),
        patience,
    ) as response:
        return session_of(response, repository.place, session)
