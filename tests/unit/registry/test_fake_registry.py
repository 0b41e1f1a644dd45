"""The fake registry does what the distribution-spec says, and the faults that it is told to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import urllib3

from .fake_registry import FakeRegistry, Fault, digest_of

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def ask(
    fake: FakeRegistry,
    method: str,
    target: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> urllib3.BaseHTTPResponse:
    url = target if "://" in target else f"{fake.url}{target}"
    with urllib3.PoolManager() as pool:
        length = {"Content-Length": str(len(body))} if body else {}
        return pool.request(
            method,
            url,
            body=body or None,
            headers={**(headers or {}), **length},
            redirect=False,
            retries=False,
        )


@pytest.mark.parametrize("location", ["relative", "absolute", "query", "storage"])
def test_an_image_is_pushed_in_chunks_and_pulled(fake: FakeRegistry, location: Any) -> None:
    fake.location = location
    data = bytes(range(200))
    started = ask(fake, "POST", "/v2/x/y/blobs/uploads/")
    assert started.status == 202
    first = ask(fake, "PATCH", started.headers["Location"], data[:90], {"Content-Range": "0-89"})
    assert (first.status, first.headers["Range"]) == (202, "0-89")
    late = ask(fake, "PATCH", first.headers["Location"], data[:90], {"Content-Range": "0-89"})
    assert (late.status, late.headers["Range"]) == (416, "0-89")
    where = late.headers["Location"]
    query = urlencode({"digest": digest_of(data)})
    done = ask(fake, "PUT", f"{where}{'&' if '?' in where else '?'}{query}", data[90:])
    assert done.status == 201
    descriptor = {"digest": digest_of(data), "size": 200}
    document = {"mediaType": MANIFEST, "config": descriptor, "layers": [descriptor]}
    manifest, accept = orjson.dumps(document), {"Accept": MANIFEST}
    kind = {"Content-Type": MANIFEST}
    assert ask(fake, "PUT", "/v2/x/y/manifests/v1", manifest, kind).status == 201
    assert ask(fake, "GET", "/v2/x/y/manifests/v1").status == 404
    assert ask(fake, "GET", "/v2/x/y/manifests/v1", headers=accept).data == manifest
    ranged = ask(fake, "GET", f"/v2/x/y/blobs/{digest_of(data)}", headers={"Range": "bytes=150-"})
    assert (ranged.status, ranged.data) == (206, data[150:])
    assert ask(fake, "PUT", "/v2/other/manifests/v1", manifest, kind).status == 404


def test_a_blob_is_mounted(fake: FakeRegistry) -> None:
    digest = fake.add_blob("from", b"data")
    mount = urlencode({"mount": digest, "from": "from"})
    assert ask(fake, "POST", f"/v2/to/blobs/uploads/?{mount}").status == 201
    assert fake.blobs["to"] == {digest: b"data"}


def test_tags_are_listed_in_pages(fake: FakeRegistry) -> None:
    fake.tags["x"] = {"a": "1", "b": "2", "c": "3"}
    fake.page = 2
    page = ask(fake, "GET", "/v2/x/tags/list")
    assert page.json()["tags"] == ["a", "b"]
    assert page.headers["Link"] == '</v2/x/tags/list?n=2&last=b>; rel="next"'


def test_a_fault_meets_as_many_requests_as_it_says(fake: FakeRegistry) -> None:
    digest = fake.add_blob("x", b"data")
    fake.faults = [Fault(path="/blobs/", status=503, times=2, skip=1)]
    statuses = [ask(fake, "GET", f"/v2/x/blobs/{digest}").status for _ in range(4)]
    assert statuses == [200, 503, 503, 200]
    fake.faults = [Fault("PUT", cut=10)]
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask(fake, "PUT", "/v2/x/blobs/uploads/1?digest=x", bytes(1 << 22))
    assert fake.log[-1].received == 10


def test_the_storage_server_refuses_authorization(fake: FakeRegistry) -> None:
    digest = fake.add_blob("x", b"data")
    fake.redirect_blobs = True
    target = ask(fake, "GET", f"/v2/x/blobs/{digest}").headers["Location"]
    assert ask(fake, "GET", target).data == b"data"
    assert ask(fake, "GET", target, headers={"Authorization": "Bearer x"}).status == 400
