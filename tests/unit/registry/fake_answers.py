"""The answers of the fake registry, after the distribution-spec."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from nixdock.oci.digests import check_digest

if TYPE_CHECKING:
    from .fake_registry import FakeRegistry

__all__ = ["Answer", "Received", "answer", "failure"]


@dataclass(frozen=True)
class Received:
    """A request with its body; `server` is the name of the server that it came to."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes
    server: str = "registry"

    def first(self, key: str) -> str:
        """Return the first value of a key of the query, or nothing."""
        return next(iter(self.query.get(key, [])), "")


@dataclass(frozen=True)
class Answer:
    """A status, headers and a body."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def failure(status: int, code: str, message: str = "", **headers: str) -> Answer:
    """Return the answer to a request that failed."""
    body = orjson.dumps({"errors": [{"code": code, "message": message or code.lower()}]})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Type": "application/json"} | named, body)


def answer(registry: FakeRegistry, received: Received) -> Answer:
    """Answer a request, if it is allowed."""
    if received.server == "storage":
        if "Authorization" in received.headers:
            return Answer(400, body=b"Only one auth mechanism allowed")
    else:
        if received.path == "/token":
            return registry.accounts.token(registry.url, received)
        if refusal := registry.accounts.refusal(registry.url, received, _needed(received)):
            return refusal
    if received.path == "/v2/":
        return Answer(200, body=b"{}")
    for route, function in _ROUTES.items():
        if found := re.fullmatch(route, f"{received.method} {received.path}"):
            return function(registry, received, *found.groups())
    return failure(404, "UNSUPPORTED", "no such path")


def _needed(received: Received) -> list[str]:
    """Return the scopes that a request needs."""
    found = re.match(rf"/v2/{_NAME}/(?:blobs|manifests|tags|referrers)/", received.path)
    if found is None:
        return []
    action = "pull" if received.method in {"GET", "HEAD"} else "push"
    return [f"repository:{found[1]}:{action}"]


def _get_blob(registry: FakeRegistry, received: Received, name: str, digest: str) -> Answer:
    data = registry.blobs.get(name, {}).get(digest)
    if data is None:
        return failure(404, "BLOB_UNKNOWN")
    if registry.redirect_blobs and received.server == "registry" and received.method == "GET":
        return Answer(307, {"Location": _storage(registry, received.path)})
    data = registry.tampered.get(digest, data)
    headers = {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream"}
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", received.headers.get("Range", ""))
    if asked is None or registry.ignores_range:
        return Answer(200, headers, data)
    start, end = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
    if start >= len(data):
        return failure(416, "UNSUPPORTED", Content_Range=f"bytes */{len(data)}")
    headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
    return Answer(206, headers, data[start : end + 1])


def _start_upload(registry: FakeRegistry, received: Received, name: str) -> Answer:
    digest, source = received.first("mount"), received.first("from")
    if digest and not registry.refuses_mounts:
        data = registry.blobs.get(source, {}).get(digest)
        allowed = registry.accounts.allows(received, f"repository:{source}:pull")
        if data is not None and allowed:
            registry.blobs.setdefault(name, {})[digest] = data
            location = f"/v2/{name}/blobs/{digest}"
            return Answer(201, {"Location": location, "Docker-Content-Digest": digest})
    session = f"session-{next(registry.numbers)}"
    registry.uploads[session] = bytearray()
    return Answer(202, _session_headers(registry, name, session))


def _session_headers(registry: FakeRegistry, name: str, session: str) -> dict[str, str]:
    path = f"/v2/{name}/blobs/uploads/{session}"
    match registry.location:
        case "relative":
            location = path
        case "absolute":
            location = f"{registry.url}{path}"
        case "query":
            state = registry.states.setdefault(session, f"state-{next(registry.numbers)}")
            location = f"{path}?{urlencode({'_state': state})}"
        case "storage":
            location = _storage(registry, path)
    headers = {"Location": location, "Docker-Upload-UUID": session}
    if length := len(registry.uploads[session]):
        headers["Range"] = f"0-{length - 1}"
    if registry.chunk_min:
        headers["OCI-Chunk-Min-Length"] = str(registry.chunk_min)
    return headers


def _storage(registry: FakeRegistry, path: str) -> str:
    return f"{registry.scheme}://{registry.storage}{path}?X-Amz-Signature=signature-of-storage"


def _upload(registry: FakeRegistry, received: Received, name: str, session: str) -> Answer:
    upload = registry.uploads.get(session)
    if upload is None:
        return failure(404, "BLOB_UPLOAD_UNKNOWN")
    if received.first("_state") != registry.states.get(session, ""):
        # As docker-registry answers.
        return failure(404, "BLOB_UPLOAD_INVALID", "not the newest Location")
    if received.method == "GET":
        return Answer(204, _session_headers(registry, name, session))
    if received.method == "DELETE":
        del registry.uploads[session]
        return Answer(204)
    if registry.redirect_uploads and received.server == "registry":
        target = _storage(registry, received.path)
        more = urlencode([(key, each) for key in received.query for each in received.query[key]])
        return Answer(307, {"Location": f"{target}&{more}" if more else target})
    if refusal := _misplaced(registry, received, name, session):
        return refusal
    upload += received.body
    registry.states.pop(session, None)
    if received.method == "PATCH":
        return Answer(202, _session_headers(registry, name, session))
    return _finish_upload(registry, received, name, session)


def _misplaced(
    registry: FakeRegistry, received: Received, name: str, session: str
) -> Answer | None:
    """Return the answer to a chunk that does not continue the upload, or None."""
    upload = registry.uploads[session]
    if "Transfer-Encoding" in received.headers:
        return failure(411, "SIZE_INVALID", "a Content-Length is required")
    if received.method == "PATCH" and registry.refuses_chunks:
        return failure(405, "UNSUPPORTED", "no chunks here")
    if received.method == "PATCH" and len(received.body) < registry.chunk_min:
        return failure(400, "SIZE_INVALID", "the chunk is too small")
    sent = re.fullmatch(r"(\d+)-(\d+)", received.headers.get("Content-Range", ""))
    if sent is not None:
        if int(sent[1]) != len(upload):
            return failure(
                416,
                "BLOB_UPLOAD_INVALID",
                "chunks out of order",
                **_session_headers(registry, name, session),
            )
        if int(sent[2]) + 1 - int(sent[1]) != len(received.body):
            return failure(400, "SIZE_INVALID")
    elif received.headers.get("Content-Range"):
        return failure(400, "BLOB_UPLOAD_INVALID", "Content-Range must be START-END")
    return None


def _finish_upload(registry: FakeRegistry, received: Received, name: str, session: str) -> Answer:
    from .fake_registry import digest_of

    data = bytes(registry.uploads.pop(session))
    digest = received.first("digest")
    if digest != digest_of(data):
        return failure(400, "DIGEST_INVALID", f"the content is {digest_of(data)}")
    registry.blobs.setdefault(name, {})[digest] = data
    location = f"/v2/{name}/blobs/{digest}"
    return Answer(201, {"Location": location, "Docker-Content-Digest": digest})


def _get_manifest(registry: FakeRegistry, received: Received, name: str, wanted: str) -> Answer:
    from .fake_registry import digest_of

    stored = registry.manifest(name, wanted)
    accepted = re.split(r"\s*,\s*", received.headers.get("Accept", ""))
    if stored is None or stored.media_type not in accepted:
        return failure(404, "MANIFEST_UNKNOWN")
    digest = registry.false_digest or digest_of(stored.data)
    data = registry.tampered.get(digest_of(stored.data), stored.data)
    return Answer(200, {"Content-Type": stored.media_type, "Docker-Content-Digest": digest}, data)


def _put_manifest(registry: FakeRegistry, received: Received, name: str, wanted: str) -> Answer:
    from .fake_registry import Stored, digest_of

    data = received.body
    if len(data) > registry.most_manifest:
        return failure(413, "SIZE_INVALID", "the manifest is too large")
    document = orjson.loads(data)
    media_type = received.headers.get("Content-Type", "")
    if document.get("mediaType", media_type) != media_type:
        return failure(400, "MANIFEST_INVALID", "Content-Type is not the mediaType")
    digest = digest_of(data)
    if ":" in wanted and check_digest(wanted) != digest:
        return failure(400, "DIGEST_INVALID", f"the content is {digest}")
    blobs, manifests = registry.blobs.get(name, {}), registry.manifests.setdefault(name, {})
    parts = [document["config"], *(document["layers"] or [])] if "layers" in document else []
    missing = [each["digest"] for each in parts if each["digest"] not in blobs]
    children = [each["digest"] for each in (document.get("manifests") or [])]
    missing += [each for each in children if each not in manifests]
    if missing:
        return failure(404, "MANIFEST_BLOB_UNKNOWN", f"unknown: {', '.join(missing)}")
    manifests[digest] = Stored(media_type, data)
    if ":" not in wanted:
        registry.tags.setdefault(name, {})[wanted] = digest
    headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest}
    if registry.referrers and (subject := document.get("subject")):
        headers["OCI-Subject"] = subject["digest"]
    return Answer(201, headers)


def _delete_manifest(registry: FakeRegistry, received: Received, name: str, wanted: str) -> Answer:
    tags = registry.tags.get(name, {})
    if tags.pop(wanted, None) or registry.manifests.get(name, {}).pop(wanted, None):
        return Answer(202)
    return failure(404, "MANIFEST_UNKNOWN")


def _list_tags(registry: FakeRegistry, received: Received, name: str) -> Answer:
    if name not in registry.tags:
        return failure(404, "NAME_UNKNOWN")
    last = received.first("last")
    tags = sorted(tag for tag in registry.tags[name] if tag > last)
    most = int(received.first("n") or registry.page or len(tags))
    most = min(most, registry.page or most)
    headers = {}
    if len(tags) > most:
        query = urlencode({"n": most, "last": tags[most - 1]})
        headers["Link"] = f'</v2/{name}/tags/list?{query}>; rel="next"'
    return _json({"name": name, "tags": tags[:most]}, headers)


def _list_referrers(registry: FakeRegistry, received: Received, name: str, digest: str) -> Answer:
    if not registry.referrers:
        return failure(404, "NOT_FOUND")
    wanted = received.first("artifactType")
    found: list[dict[str, Any]] = []
    for each, stored in registry.manifests.get(name, {}).items():
        document = orjson.loads(stored.data)
        if document.get("subject", {}).get("digest") != digest:
            continue
        kind = document.get("artifactType") or document.get("config", {}).get("mediaType")
        if wanted and registry.filters_referrers and kind != wanted:
            continue
        descriptor = {
            "mediaType": stored.media_type,
            "digest": each,
            "size": len(stored.data),
            "artifactType": kind,
        }
        found.append(
            descriptor | {key: document[key] for key in ["annotations"] if key in document}
        )
    start = int(received.first("start") or 0)
    end = start + (registry.page or len(found))
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": found[start:end],
    }
    headers = {"Content-Type": index["mediaType"]}
    if end < len(found):
        query = urlencode({"start": end} | ({"artifactType": wanted} if wanted else {}))
        headers["Link"] = f'</v2/{name}/referrers/{digest}?{query}>; rel="next"'
    if wanted and registry.filters_referrers:
        headers["OCI-Filters-Applied"] = "artifactType"
    return _json(index, headers)  # type: ignore[arg-type]


def _json(document: object, headers: Mapping[str, str]) -> Answer:
    return Answer(200, {"Content-Type": "application/json", **headers}, orjson.dumps(document))


_NAME = r"([a-z0-9._/-]+)"
_ROUTES: dict[str, Callable[..., Answer]] = {
    rf"(?:GET|HEAD) /v2/{_NAME}/blobs/([a-z0-9]+:[0-9a-f]+)": _get_blob,
    rf"POST /v2/{_NAME}/blobs/uploads/": _start_upload,
    rf"(?:GET|PATCH|PUT|DELETE) /v2/{_NAME}/blobs/uploads/([^/]+)": _upload,
    rf"(?:GET|HEAD) /v2/{_NAME}/manifests/([^/]+)": _get_manifest,
    rf"PUT /v2/{_NAME}/manifests/([^/]+)": _put_manifest,
    rf"DELETE /v2/{_NAME}/manifests/([^/]+)": _delete_manifest,
    rf"GET /v2/{_NAME}/tags/list": _list_tags,
    rf"GET /v2/{_NAME}/referrers/([^/]+)": _list_referrers,
}
