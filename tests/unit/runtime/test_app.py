"""The registry as a WSGI application, called without a server."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import ImageError, InputError, OutputError
from nixdock.oci.descriptor import Blob
from nixdock.oci.digests import sha256_digest
from nixdock.runtime.app import application
from nixdock.runtime.byte_range import Part, UnsatisfiableError, part_of
from nixdock.runtime.catalogue import Document, Offer, Repository, ServedName, catalogue
from nixdock.runtime.tally import Tally

DATA = bytes(range(256))
DIGEST = sha256_digest(DATA)
MANIFEST = Blob("application/vnd.oci.image.manifest.v1+json", b'{"schemaVersion":2}')
OFFER = Offer(
    ("example.org/me/app:v1", "me/app:v2"),
    MANIFEST,
    {MANIFEST.digest: MANIFEST},
    {DIGEST: Document(DATA)},
)
CATALOGUE = catalogue([OFFER])


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of the error, whose form is that of the distribution-spec."""
        (error,) = json.loads(self.body)["errors"]
        assert error["message"]
        assert self.headers["Content-Type"] == "application/json"
        found: str = error["code"]
        return found

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    path: str,
    method: str = "GET",
    query: str = "",
    served: dict[str, Repository] | None = None,
    tally: Tally | None = None,
    local_only: bool = False,
    **headers: str,
) -> Answer:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "HTTP_HOST": "127.0.0.1:5000",
    }
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    setup_testing_defaults(environ)
    started: list[Any] = []

    def start(status: str, fields: list[tuple[str, str]], *_: object) -> Any:
        started.extend((status, fields))

    app = application(served or CATALOGUE, tally, local_only=local_only)
    answer: Iterable[bytes] = app(environ, start)
    body = b"".join(answer)
    if close := getattr(answer, "close", None):
        close()
    status, fields = started
    found = Answer(int(status.split()[0]), dict(fields), body)
    if found.status == 304:
        assert (body, "Content-Length" in found.headers) == (b"", False)
    elif method != "HEAD":
        assert int(found.headers["Content-Length"]) == len(body)
    return found


def test_the_version_is_stated() -> None:
    for path in ("/v2", "/v2/"):
        answer = ask(path)
        assert (answer.status, answer.json) == (200, {})
        assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize("reference", ["v1", "v2", MANIFEST.digest])
def test_manifests_by_tag_and_digest(reference: str) -> None:
    path = f"/v2/me/app/manifests/{reference}"
    answer, head = ask(path), ask(path, "HEAD")
    assert (answer.status, answer.body) == (200, MANIFEST.data)
    assert answer.headers["Content-Type"] == MANIFEST.media_type
    assert answer.headers["Docker-Content-Digest"] == MANIFEST.digest
    assert (head.status, head.headers, head.body) == (200, answer.headers, b"")


def test_blobs() -> None:
    path = f"/v2/me/app/blobs/{DIGEST}"
    answer, head = ask(path), ask(path, "HEAD")
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Docker-Content-Digest"] == DIGEST
    assert (head.status, head.headers, head.body) == (200, answer.headers, b"")


@pytest.mark.parametrize(
    ("text", "start", "size"),
    [
        ("0-0", 0, 1),
        ("10-19", 10, 10),
        ("250-", 250, 6),
        ("0-999", 0, 256),
        ("-6", 250, 6),
        ("-256", 0, 256),
        ("-257", 0, 256),
        ("0-9223372036854775807", 0, 256),
        ("10-18446744073709551615", 10, 246),
        ("-9223372036854775807", 0, 256),
        ("7-" + "9" * 10_000, 7, 249),
        ("-" + "9" * 10_000, 0, 256),
        ("0" * 10_000 + "3-" + "0" * 10_000 + "5", 3, 3),
    ],
)
def test_ranges(text: str, start: int, size: int) -> None:
    answer = ask(f"/v2/me/app/blobs/{DIGEST}", range=f"bytes={text}")
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{start + size - 1}/256"
    assert answer.headers["Content-Length"] == str(size)
    assert answer.body == DATA[start : start + size]


@pytest.mark.parametrize("text", ["0-0", "-6", "256-", "a-b", "0-1,4-5"])
def test_ranges_are_for_get_alone(text: str) -> None:
    """RFC 9110, 14.2: a server must ignore the field with any other method."""
    path = f"/v2/me/app/blobs/{DIGEST}"
    head = ask(path, "HEAD", range=f"bytes={text}")
    assert (head.status, head.headers) == (200, ask(path).headers)


@pytest.mark.parametrize(
    "text",
    [
        *("256-", "9-3", "-0", "-", "a-b", "", "1", "--1", "1-2-3", "1 2-3", "+1-2", "1_0-20"),
        *("9" * 40 + "-", "9" * 10_000 + "-", f"{'9' * 41}-{'9' * 40}", "-" + "0" * 10_000, "²-³"),
    ],
)
def test_ranges_that_are_not_there(text: str) -> None:
    answer = ask(f"/v2/me/app/blobs/{DIGEST}", range=f"bytes={text}")
    assert (answer.status, answer.code) == (416, "RANGE_INVALID")
    assert answer.headers["Content-Range"] == "bytes */256"


@pytest.mark.parametrize(
    "headers",
    [
        {"range": "lines=1-2"},
        {"range": "bytes=0-1,4-x"},
        {"range": "bytes=0-1,4-5,"},
        {"range": "bytes=0-1,256-"},
        {"range": "bytes=0-4,4-5"},
        {"range": "bytes=4-5,0-1"},
        {"range": "bytes=" + ",".join(f"{n}-{n}" for n in range(1200))},
        {"range": "bytes=0-1", "if_range": '"other"'},
        {"range": "bytes=0-1", "if_range": f'W/"{DIGEST}"'},
        {"range": "bytes=0-1", "if_range": "Wed, 21 Oct 2015 07:28:00 GMT"},
    ],
)
def test_ranges_that_are_ignored(headers: dict[str, Any]) -> None:
    assert ask(f"/v2/me/app/blobs/{DIGEST}", **headers).body == DATA


def test_a_range_of_what_the_client_has_a_part_of() -> None:
    tag = f'"{DIGEST}"'
    answer = ask(f"/v2/me/app/blobs/{DIGEST}", range="bytes=1-2", if_range=tag)
    assert (answer.status, answer.body) == (206, DATA[1:3])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "digest"),
    [
        (f"blobs/{DIGEST}", DIGEST),
        ("manifests/v1", MANIFEST.digest),
        (f"manifests/{MANIFEST.digest}", MANIFEST.digest),
    ],
)
def test_what_the_client_has_is_not_sent(path: str, digest: str, method: str) -> None:
    tag = ask(f"/v2/me/app/{path}", method).headers["ETag"]
    others: list[dict[str, Any]] = [{}, {"range": "bytes=0-1"}, {"range": "bytes=999-"}]
    tags = (tag, f"W/{tag}", "*", " * ", f'"a, b", W/"c",{tag}', f'"", "x" , W/{tag}, "y"')
    for each in tags:
        for fields in (*others, {"range": "bytes=0-1", "if_range": '"a"'}):
            tally = Tally()
            found = ask(f"/v2/me/app/{path}", method, tally=tally, if_none_match=each, **fields)
            assert (found.status, found.body) == (304, b"")
            assert (found.headers["ETag"], found.headers["Docker-Content-Digest"]) == (tag, digest)
            assert "Content-Type" not in found.headers
            assert (tally.answers, tally.blobs, tally.is_busy) == (1, {}, False)


@pytest.mark.parametrize(
    "tags", ["", '""', '"other"', DIGEST, f'"{DIGEST}', f'W/"a{DIGEST}", "*"', "x*", '"' * 9999]
)
def test_what_the_client_does_not_have_is_sent(tags: str) -> None:
    path = f"/v2/me/app/blobs/{DIGEST}"
    assert ask(path, if_none_match=tags).body == DATA
    assert ask(path, if_none_match=tags, range="bytes=0-1").status == 206


def test_what_is_not_there_is_not_unmodified() -> None:
    for path, status in (("/v2/me/app/manifests/none", 404), ("/v2/me/app/blobs/x", 400)):
        assert ask(path, if_none_match="*").status == status
    assert ask("/v2/me/app/tags/list", if_none_match='"a"').status == 200


@given(st.data())
def test_several_ranges(data: st.DataObject) -> None:
    """A parser of e-mails takes the answer apart."""
    bounds = sorted(data.draw(st.lists(st.integers(0, 255), min_size=4, max_size=8, unique=True)))
    pairs = [*zip(bounds[::2], bounds[1::2], strict=False)]
    path = f"/v2/me/app/blobs/{DIGEST}"
    asked = ", ".join(f"{first}-{last}" for first, last in pairs)
    answer = ask(path, range=f"bytes={asked}")
    assert answer.status == 206
    assert answer.headers["Content-Length"] == str(len(answer.body))
    content_type = answer.headers["Content-Type"]
    assert content_type.startswith("multipart/byteranges; boundary=")
    message = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + answer.body)
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert [part["Content-Range"] for part in parts if isinstance(part, Message)] == [
        f"bytes {first}-{last}/256" for first, last in pairs
    ]
    # The bytes are as they are, which e-mails cannot have: look for them by their heads.
    for first, last in pairs:
        head_of_part = f"Content-Range: bytes {first}-{last}/256\r\n\r\n".encode()
        assert head_of_part + DATA[first : last + 1] + b"\r\n--" in answer.body


@given(st.integers(0, 50), st.text("0123456789-bytes= ", max_size=14))
def test_every_range_is_within_the_blob(whole: int, text: str) -> None:
    try:
        part = part_of(f"bytes={text}", whole)
    except UnsatisfiableError:
        return
    assert part is None or (part.size > 0 and 0 <= part.start <= whole - part.size)


def test_hostile_ranges_take_no_time() -> None:
    """More than a server takes, so that what is not linear shows."""
    for filling in (" ", "0", "9", "-", "\t0"):
        for text in (filling * 200_000, f"1-{filling * 200_000}x", f"{filling * 200_000}-x"):
            begun = time.process_time()
            with pytest.raises(UnsatisfiableError):
                part_of(f"bytes={text}", 256)
            assert time.process_time() - begun < 1


def test_a_part_of_an_empty_blob() -> None:
    assert part_of(None, 0) is None
    with pytest.raises(UnsatisfiableError):
        part_of("bytes=0-", 0)
    assert part_of("bytes= 2 - 3 ", 9) == Part(2, 2)


def test_lists() -> None:
    assert ask("/v2/_catalog").json == {"repositories": ["me/app"]}
    assert ask("/v2/me/app/tags/list").json == {"name": "me/app", "tags": ["v1", "v2"]}
    page = ask("/v2/me/app/tags/list", query="n=1")
    assert page.json["tags"] == ["v1"]
    assert page.headers["Link"] == '</v2/me/app/tags/list?n=1&last=v1>; rel="next"'
    rest = ask("/v2/me/app/tags/list", query="n=1&last=v1")
    assert (rest.json["tags"], "Link" in rest.headers) == (["v2"], False)
    assert ask("/v2/me/app/tags/list", query="n=0").json["tags"] == []
    wrong = ask("/v2/me/app/tags/list", query="n=-1")
    assert (wrong.status, wrong.code) == (400, "PAGINATION_NUMBER_INVALID")


def referring(subject: object, **others: object) -> Blob:
    document = {"schemaVersion": 2, "subject": subject, **others}
    return Blob(MANIFEST.media_type, json.dumps(document).encode())


def test_referrers() -> None:
    about = {"mediaType": MANIFEST.media_type, "digest": MANIFEST.digest, "size": 1}
    config = {"mediaType": "application/vnd.example", "digest": DIGEST, "size": 1}
    signature = referring(about, artifactType="a/signature", annotations={"by": "me"})
    sbom = referring(about, config=config)
    manifests = {each.digest: each for each in (MANIFEST, signature, sbom)}
    served = dict(catalogue([Offer(("me/app:v1",), MANIFEST, manifests, {})]))
    path = f"/v2/me/app/referrers/{MANIFEST.digest}"
    answer = ask(path, served=served)
    assert answer.headers["Content-Type"] == answer.json["mediaType"]
    assert "OCI-Filters-Applied" not in answer.headers
    first, second = answer.json["manifests"]
    assert first == {
        "mediaType": MANIFEST.media_type,
        "digest": signature.digest,
        "size": len(signature.data),
        "artifactType": "a/signature",
        "annotations": {"by": "me"},
    }
    assert (second["digest"], second["artifactType"]) == (sbom.digest, config["mediaType"])
    filtered = ask(path, served=served, query="artifactType=a/signature")
    assert filtered.json["manifests"] == [first]
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert ask(f"/v2/me/app/manifests/{sbom.digest}", served=served).body == sbom.data


def test_what_nothing_refers_to() -> None:
    for digest in (MANIFEST.digest, "sha256:" + "0" * 64):
        answer = ask(f"/v2/me/app/referrers/{digest}")
        assert (answer.status, answer.json["manifests"]) == (200, [])
    assert ask("/v2/me/app/referrers/v1").code == "DIGEST_INVALID"


@pytest.mark.parametrize("subject", ["text", {"digest": 1}, []])
def test_a_malformed_subject(subject: object) -> None:
    wrong = referring(subject)
    with pytest.raises(ImageError, match=f"the manifest {wrong.digest}"):
        catalogue([Offer(("me/app:v1",), MANIFEST, {wrong.digest: wrong}, {})])


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("", 404, "NOT_FOUND"),
        ("/", 404, "NOT_FOUND"),
        ("/v1/", 404, "NOT_FOUND"),
        ("/etc/passwd", 404, "NOT_FOUND"),
        ("/v2/../../etc/passwd", 404, "NOT_FOUND"),
        ("/v2/me/app/tags/other", 404, "NOT_FOUND"),
        ("/v2/me/app/uploads/x", 404, "NOT_FOUND"),
        ("/v2/../app/blobs/" + DIGEST, 400, "NAME_INVALID"),
        ("/v2/me//app/tags/list", 400, "NAME_INVALID"),
        ("/v2/ME/app/tags/list", 400, "NAME_INVALID"),
        ("/v2/me/\x00/tags/list", 400, "NAME_INVALID"),
        ("/v2/me/\xe9/tags/list", 400, "NAME_INVALID"),
        ("/v2/me/other/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/me/app/blobs/..", 400, "DIGEST_INVALID"),
        ("/v2/me/app/blobs/sha256:..", 400, "DIGEST_INVALID"),
        ("/v2/me/app/blobs/sha256:" + "A" * 64, 400, "DIGEST_INVALID"),
        ("/v2/me/app/blobs/" + DIGEST + "\n", 400, "DIGEST_INVALID"),
        ("/v2/me/app/blobs/sha256:" + "0" * 64, 404, "BLOB_UNKNOWN"),
        ("/v2/me/app/blobs/sha512:" + "0" * 128, 404, "BLOB_UNKNOWN"),
        ("/v2/me/app/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("/v2/me/app/manifests/..", 404, "MANIFEST_UNKNOWN"),
        ("/v2/me/app/manifests/sha256:0", 400, "DIGEST_INVALID"),
        ("/v2/me/app/manifests/" + DIGEST, 404, "MANIFEST_UNKNOWN"),
        ("/v2/me/app/manifests/" + "a" * 5000, 404, "NOT_FOUND"),
        ("/v2/" + "a/" * 5000 + "tags/list", 404, "NOT_FOUND"),
    ],
)
def test_what_is_not_there(path: str, status: int, code: str) -> None:
    answer = ask(path)
    assert (answer.status, answer.code) == (status, code)
    head = ask(path, "HEAD")
    assert (head.status, head.body) == (status, b"")


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "x"])
def test_nothing_can_be_written(method: str) -> None:
    answer = ask("/v2/me/app/blobs/uploads/", method)
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert answer.headers["Allow"] == "GET, HEAD"


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_path_gets_an_answer(path: str, query: str) -> None:
    assert ask(f"/v2/{path}", query=query).status in {200, 400, 404}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:5000", 200),
        ("127.1.2.3", 200),
        ("localhost:5000", 200),
        ("LOCALHOST", 200),
        ("[::1]:5000", 200),
        ("evil.example:5000", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost:5000\n", 403),
        ("", 403),
    ],
)
def test_web_pages_can_not_read_what_is_for_this_machine(host: str, status: int) -> None:
    assert ask("/v2/", local_only=True, host=host).status == status
    assert ask("/v2/", host=host).status == 200


def test_answers_are_counted() -> None:
    now = [100.0]
    tally = Tally(lambda: now[0])
    blob = f"/v2/me/app/blobs/{DIGEST}"
    ask(blob, tally=tally)
    ask(blob, tally=tally, range="bytes=0-9")
    ask(blob, "HEAD", tally=tally)
    ask(blob, tally=tally, range="bytes=999-")
    ask("/v2/", tally=tally)
    assert (tally.answers, tally.blobs) == (5, {DIGEST: 266})
    now[0] = 107
    assert tally.idle_seconds() == 7
    tally.begin()
    assert tally.idle_seconds() == 0


class Broken:
    size = 10

    def open(self) -> io.RawIOBase:
        raise OutputError("can't write /secret/place")


def test_a_blob_that_can_not_be_made(caplog: pytest.LogCaptureFixture) -> None:
    repository = Repository(blobs={DIGEST: Broken()})
    tally = Tally()
    answer = ask(f"/v2/a/blobs/{DIGEST}", served={"a": repository}, tally=tally)
    assert (answer.status, answer.code) == (403, "DENIED")
    assert b"secret" not in answer.body
    assert "/secret/place" in caplog.text
    assert tally.blobs == {}


@dataclass(frozen=True)
class Short:
    """A blob whose file has become shorter."""

    size = len(DATA) + 1

    def open(self) -> io.RawIOBase:
        return Document(DATA).open()


def test_a_blob_that_is_shorter_than_it_was(caplog: pytest.LogCaptureFixture) -> None:
    served = {"a": Repository(blobs={DIGEST: Short()})}
    path, failures = f"/v2/a/blobs/{DIGEST}", f"the blob {DIGEST} is cut off"
    assert ask(path, served=served).code == "DENIED"
    assert failures in caplog.text
    assert ask(path, served=served, range="bytes=0-255").body == DATA
    # The end of several parts is none of the blob.
    with pytest.raises(OSError, match="the rest of the body can't be read"):
        ask(path, served=served, range="bytes=0-1,256-256")
    assert caplog.text.count(failures) == 2


@pytest.mark.parametrize(
    ("name", "repository", "tag"),
    [
        ("app", "image", "app"),
        ("app:v1", "app", "v1"),
        ("me/app:v1", "me/app", "v1"),
        ("ghcr.io/me/app:v1", "me/app", "v1"),
        ("localhost:5000/app:v1", "app", "v1"),
        ("docker.io/library/debian:12", "debian", "12"),
        (f"ghcr.io/me/app@{DIGEST}", "me/app", None),
        ("not a name:", "image", "latest"),
        ("v1+build", "image", None),
        ("two\nlines", "image", None),
        ("x" * 129, "image", None),
    ],
)
def test_the_host_of_a_name_is_left_out(name: str, repository: str, tag: str | None) -> None:
    assert ServedName.of(name) == ServedName(repository, tag)


def test_two_images_with_one_name() -> None:
    other = Blob(MANIFEST.media_type, b"{}")
    same = Offer(("quay.io/me/app:v1",), other, {other.digest: other}, {})
    with pytest.raises(InputError, match="two images would be served as me/app:v1"):
        catalogue([OFFER, same])
    assert list(catalogue([OFFER, OFFER])) == ["me/app"]
    assert list(catalogue([Offer((), MANIFEST, {}, {})])["image"].tags) == ["latest"]
