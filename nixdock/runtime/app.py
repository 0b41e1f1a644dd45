"""A read-only registry (distribution-spec, "Pull") as a WSGI application (PEP 3333)."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from nixdock.errors import NixdockError
from nixdock.oci.media_types import INDEX_MEDIA_TYPE
from nixdock.runtime.body import AnswerBody, Chunks, Failed, open_part
from nixdock.runtime.byte_range import Part
from nixdock.runtime.catalogue import Catalogue, Document, Repository
from nixdock.runtime.conditions import as_asked
from nixdock.runtime.replies import STATUS, RefusedError, Reply, common_headers, json_reply
from nixdock.runtime.tally import Answer, Tally
from nixdock.runtime.waiting import Waiting
from nixdock.system.text import printable

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["application"]

log = logging.getLogger(__name__)

_NAME: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_ROUTE: Final = re.compile(
    r"/v2/(?P<name>.{1,255})/(?P<kind>manifests|blobs|referrers|tags)/(?P<reference>[^/]{1,255})",
    re.ASCII,
)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)
_PAGE: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
_CHUNK: Final = 1 << 18
_LOCAL_HOST: Final = re.compile(
    r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE
)


def application(
    catalogue: Catalogue,
    tally: Tally | None = None,
    failed: Failed | None = None,
    *,
    local_only: bool = False,
) -> WSGIApplication:
    """Return the application that serves `catalogue` and tells `tally` of its answers.

    A request waits for an image that is not settled, if what it asks for may belong to that one.

    `failed` is called with the digest of a blob that can't be served, or not to its end, and the
    error; by default, there is a warning in the log.

    With `local_only`, requests must name this machine as their host: the web pages in a browser
    here could otherwise make a name of theirs lead to the registry, and read from it.
    """
    counts = Tally() if tally is None else tally
    on_failure = failed or _warn
    waiting = Waiting()

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        path = environ.get("PATH_INFO", "")
        counts.begin()
        try:
            reply = _reply(environ, catalogue, waiting, local_only=local_only)
            stream, reply = _opened(reply, method, on_failure)
        except BaseException:
            counts.end()
            raise
        part = _part(reply)
        counts.add(Answer(method, path, reply.status, part.size, reply.blob))
        log.debug("%s %s: %d, %d bytes", method, printable(path), reply.status, part.size)
        start_response(STATUS[reply.status], [*common_headers(reply).items()])
        if stream is None:
            counts.end()
            return []
        digest = reply.blob or ""
        body = AnswerBody(stream, part, digest, closed=counts.end, failed=on_failure)
        # A server that has a wrapper sends the file itself, so that slow clients hold no thread.
        wrapper: Callable[..., Iterable[bytes]] = environ.get("wsgi.file_wrapper", Chunks)
        return wrapper(body, _CHUNK)

    return answer


def _warn(digest: str, error: Exception) -> None:
    log.warning("%s can't be served: %s", digest, error)


def _opened(reply: Reply, method: str, failed: Failed) -> tuple[io.RawIOBase | None, Reply]:
    """Open the body of an answer, if it has one; if that fails, the answer is an error."""
    if method == "HEAD" or reply.status == 304:
        return None, reply
    try:
        stream = open_part(reply.body, _part(reply), reply.blob or "")
    except (NixdockError, OSError) as error:
        # What went wrong is not for clients: it may name files. The status is none of a server's
        # errors, because Docker would ask again for more than a minute.
        failed(reply.blob or "", error)
        refusal = RefusedError(403, "DENIED", "the blob can't be made; the server says why").reply
        return refusal.body.open(), refusal
    return stream, reply


def _part(reply: Reply) -> Part:
    return reply.part or Part(0, reply.body.size)


def _reply(
    environ: WSGIEnvironment, catalogue: Catalogue, waiting: Waiting, *, local_only: bool
) -> Reply:
    try:
        _check(environ, local_only=local_only)
        return as_asked(_found(environ, catalogue, waiting), environ)
    except RefusedError as refused:
        return refused.reply


def _check(environ: WSGIEnvironment, *, local_only: bool) -> None:
    if local_only and not _LOCAL_HOST.fullmatch(environ.get("HTTP_HOST", "localhost")):
        raise RefusedError(403, "DENIED", "only requests to this machine are answered")
    if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
        raise RefusedError(405, "UNSUPPORTED", "this registry is read-only", {"Allow": "GET, HEAD"})


def _found(environ: WSGIEnvironment, catalogue: Catalogue, waiting: Waiting) -> Reply:
    path = environ.get("PATH_INFO", "")
    if path in {"/v2", "/v2/"}:
        return json_reply({})
    query = parse_qs(environ.get("QUERY_STRING", "")[:4096])
    if path == "/v2/_catalog":
        return _listed("repositories", catalogue, query, "/v2/_catalog")
    match = _ROUTE.fullmatch(path)
    if match is None:
        raise RefusedError(404, "NOT_FOUND", "there is nothing here")
    name = match.group("name")
    if re.fullmatch(_NAME, name, re.ASCII) is None:
        raise RefusedError(400, "NAME_INVALID", "the repository's name is malformed")
    repository = catalogue.get(name)
    if repository is None:
        raise RefusedError(404, "NAME_UNKNOWN", "there is no such repository")
    while True:
        # Before the request looks for anything, so that an image can't settle in between.
        unsettled = [*repository.unsettled]
        try:
            return _in_repository(match, repository, environ, query, is_whole=not unsettled)
        except RefusedError as refused:
            if not unsettled or refused.reply.status != 404:
                raise
        waiting.wait(unsettled[0])


def _in_repository(
    match: re.Match[str],
    repository: Repository,
    environ: WSGIEnvironment,
    query: Mapping[str, list[str]],
    *,
    is_whole: bool,
) -> Reply:
    """Return what is asked of a repository; lists can't be had before it is whole."""
    name, kind, reference = match.group("name", "kind", "reference")
    match kind:
        case "manifests":
            return _manifest(repository, reference)
        case "blobs":
            return _blob(repository, _checked(reference))
        case "referrers" if _checked(reference) and is_whole:
            return _referrers(repository, reference, query)
        case "tags" if reference == "list" and is_whole:
            return _listed("tags", repository.tags, query, environ["PATH_INFO"], name=name)
    raise RefusedError(404, "NOT_FOUND", "there is nothing here")


def _checked(digest: str) -> str:
    if _DIGEST.fullmatch(digest) is None:
        raise RefusedError(400, "DIGEST_INVALID", "the digest is malformed")
    return digest


def _manifest(repository: Repository, reference: str) -> Reply:
    if ":" in reference:
        _checked(reference)
    found = repository.manifest(reference)
    if found is None:
        raise RefusedError(404, "MANIFEST_UNKNOWN", "there is no such manifest")
    headers = {"Content-Type": found.media_type, **_named(found.digest)}
    return Reply(200, Document(found.data), headers)


def _referrers(repository: Repository, digest: str, query: Mapping[str, list[str]]) -> Reply:
    wanted = query.get("artifactType", [None])[0]
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX_MEDIA_TYPE,
        "manifests": [
            each
            for each in repository.referrers.get(digest, [])
            if wanted in {None, each["artifactType"]}
        ],
    }
    filters = {} if wanted is None else {"OCI-Filters-Applied": "artifactType"}
    return json_reply(index, content_type=INDEX_MEDIA_TYPE, headers=filters)


def _blob(repository: Repository, digest: str) -> Reply:
    blob = repository.blobs.get(digest)
    if blob is None:
        raise RefusedError(404, "BLOB_UNKNOWN", "there is no such blob")
    headers = {
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        **_named(digest),
    }
    return Reply(200, blob, headers, blob=digest)


def _named(digest: str) -> dict[str, str]:
    return {"Docker-Content-Digest": digest, "ETag": f'"{digest}"'}


def _listed(
    key: str, names: Iterable[str], query: Mapping[str, list[str]], path: str, **others: str
) -> Reply:
    """Return a sorted list, or the page of it that the query asks for."""
    last, count = query.get("last", [""])[0], query.get("n", [""])[0]
    found = sorted(name for name in names if name > last)
    headers = {}
    if count:
        if _PAGE.fullmatch(count) is None:
            raise RefusedError(400, "PAGINATION_NUMBER_INVALID", "n is not a small number")
        page = found[: int(count)]
        if page and len(page) < len(found):
            headers["Link"] = f'<{path}?n={count}&last={page[-1]}>; rel="next"'
        found = page
    return json_reply({**others, key: found}, headers=headers)
