"""Answers that no honest registry gives: they are errors that say what is wrong, and soon."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable

import pytest

from nixdock.errors import RegistryError
from nixdock.network.answers import Flow, TooSlowError
from nixdock.network.body import Body
from nixdock.network.retrying import retry_after
from nixdock.registry.blobs import BlobReader, upload_blob
from nixdock.registry.manifests import get_manifest, list_tags
from nixdock.registry.repository import Repository

from .fake_registry import FakeRegistry, Fault
from .reaching import Clock, reach

DATA = hashlib.shake_256(b"blob").digest(300_000)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
ALWAYS = 99
DIGITS = "1" * 5000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def repository(fake: FakeRegistry, clock: Clock) -> Repository:
    fake.add_blob("some/repository", DATA)
    return Repository(reach(fake, clock=clock), "some/repository")


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(RegistryError) as caught:
        action()
    return str(caught.value)


def read(repository: Repository) -> bytes:
    with BlobReader(repository, DIGEST) as reader:
        return reader.readall()


@pytest.mark.parametrize("location", ["http://[bad", "//["])
def test_a_location_that_is_no_url(
    fake: FakeRegistry, repository: Repository, location: str
) -> None:
    fake.faults.append(Fault("POST", status=202, headers={"Location": location}))
    error = error_of(lambda: upload_blob(repository, DIGEST, Body.of(DATA)))
    assert error == (
        f"{fake.host}/some/repository: the upload of the blob {DIGEST}: the registry's word is not"
        " followed: it leads to an invalid URL"
    )


def test_a_fragment_does_not_hide_the_digest(fake: FakeRegistry, repository: Repository) -> None:
    headers = {"Location": "/v2/some/repository/blobs/uploads/1#fragment"}
    fake.faults.append(Fault("POST", status=202, headers=headers))
    fake.uploads["1"] = bytearray()
    upload_blob(repository, DIGEST, Body.of(DATA))
    assert [each.path for each in fake.requests("PUT")] == [
        f"/v2/some/repository/blobs/uploads/1?digest={DIGEST}"
    ]


def test_a_list_that_goes_on_nowhere(fake: FakeRegistry, repository: Repository) -> None:
    for link, message in (
        ("http://[bad", "the registry's word is not followed: it leads to an invalid URL"),
        ("list", "the list of tags: a page leads to itself"),
    ):
        headers = {"Link": f'<{link}>; rel="next"'}
        fake.faults.append(Fault("GET", "tags", status=200, headers=headers, body=b"{}"))
        assert error_of(lambda: list_tags(repository)).endswith(message)


def test_a_list_without_an_end(fake: FakeRegistry, repository: Repository) -> None:
    body = b'{"tags": ["' + b"x" * (4_000_000) + b'"]}'
    for i in range(40):
        headers = {"Link": f'</v2/some/repository/tags/list?last={i}>; rel="next"'}
        fake.faults.append(Fault("GET", "tags", status=200, headers=headers, body=body))
    error = error_of(lambda: list_tags(repository))
    assert (
        error == f"{fake.host}/some/repository: the list of tags: it has more than 67108864 bytes"
    )


def test_numbers_with_more_digits_than_are_read(fake: FakeRegistry, repository: Repository) -> None:
    headers = {"Content-Range": f"bytes {DIGITS}-{DIGITS}/*"}
    fake.faults += [
        Fault("GET", "blobs", cut=1000),
        Fault("GET", "blobs", status=206, headers=headers),
    ]
    assert error_of(lambda: read(repository)).endswith(
        "the registry does not send the bytes from 1000 on"
    )
    del fake.blobs["some/repository"]
    # Where an upload goes on can't be told: it begins anew.
    fake.faults += [
        Fault("PUT", cut=1000),
        Fault("GET", "uploads", status=204, headers={"Range": f"0-{DIGITS}"}),
    ]
    upload_blob(repository, DIGEST, Body.of(DATA))
    assert fake.blobs["some/repository"][DIGEST] == DATA


@pytest.mark.parametrize(
    "headers", [{"X": "y" * 70_000}, {f"X-{i}": "y" for i in range(200)}], ids=["long", "many"]
)
def test_headers_without_an_end(
    fake: FakeRegistry, repository: Repository, clock: Clock, headers: dict[str, str]
) -> None:
    fake.faults.append(Fault("GET", "manifests", ALWAYS, status=200, headers=headers))
    assert error_of(lambda: get_manifest(repository, "v1")).endswith(
        f": the headers of what {fake.host} answers are too long, or too many"
    )
    # They would not be shorter another time.
    assert clock.slept == []


def test_a_piece_of_negative_size(fake: FakeRegistry, repository: Repository) -> None:
    headers = {"Transfer-Encoding": "chunked"}
    body = b"-5\r\n" + b"A" * (1 << 20)
    fake.faults.append(
        Fault("GET", "blobs|manifests", 99, status=200, headers=headers, body=body, early=True)
    )
    with BlobReader(repository, DIGEST) as reader:
        assert "(the answer is malformed)" in error_of(lambda: reader.readinto(bytearray(100)))
    assert " broke" in error_of(lambda: get_manifest(repository, "v1"))


def test_a_registry_that_breaks_every_transfer_is_not_asked_for_ever(
    fake: FakeRegistry, repository: Repository, clock: Clock
) -> None:
    fake.faults.append(Fault("GET", "blobs", ALWAYS, cut=100))
    assert "broke" in error_of(lambda: read(repository))
    assert len(fake.requests("GET", "blobs")) == repository.transport.attempts
    # It is given time to recover, but at first it is only the connection that broke.
    assert clock.slept == [2.0, 4.0, 8.0]


def test_a_transfer_that_gets_on_is_not_given_up(
    fake: FakeRegistry, repository: Repository, clock: Clock
) -> None:
    fake.faults.append(Fault("GET", "blobs", 20, cut=1 << 16))
    assert read(repository) == DATA
    assert clock.slept == []


def test_an_upload_whose_answer_was_lost_is_not_sent_again(fake: FakeRegistry) -> None:
    fake.faults.append(Fault("PUT", status=504))

    def arrive(_: float) -> None:
        fake.add_blob("some/repository", DATA)
        fake.uploads.clear()

    clock = Clock()
    transport = reach(fake, pace=clock.pace(sleep=arrive))
    upload_blob(Repository(transport, "some/repository"), DIGEST, Body.of(DATA))
    assert sum(each.received for each in fake.requests("PUT|PATCH")) == len(DATA)


def test_dates_that_are_none() -> None:
    for text in ("Mon, 01 Jan 2020 00:00:00 +99999999999999999999", "Mon, 99 Jan 99999", "nan"):
        assert retry_after(text, 0.0) is None


def flow_of(*pieces: tuple[float, int]) -> int:
    """Return how many pieces come, each after some seconds, before they are too slow."""
    time = 0.0
    flow = Flow(60.0, now=lambda: time)

    def piece(seconds: float, size: int) -> bytes:
        nonlocal time
        time += seconds
        return bytes(size)

    for i, (seconds, size) in enumerate(pieces):
        # What is done with the bytes takes long, which is not the server's fault.
        time += 1000
        try:
            flow.wait(lambda seconds=seconds, size=size: piece(seconds, size))  # type: ignore[misc]
        except TooSlowError:
            return i
    return len(pieces)


def test_a_server_that_drips_is_too_slow() -> None:
    assert flow_of(*[(30.0, 1)] * 10) == 1
    assert flow_of(*[(30.0, 10_000)] * 10) == 10
    assert flow_of((59.0, 40_000), (59.0, 1), (59.0, 1), (59.0, 1)) == 3
    assert flow_of((60.0, 0)) == 1, "the end of the body"


@pytest.mark.parametrize("by_digest", [True, False])
def test_a_manifest_that_a_proxy_has_compressed(
    fake: FakeRegistry, repository: Repository, by_digest: bool
) -> None:
    digest = fake.add_manifest("some/repository", {"schemaVersion": 2}, "v1")
    stored = fake.manifest("some/repository", "v1")
    assert stored is not None
    headers = {
        "Content-Type": stored.media_type,
        "Content-Encoding": "gzip",
        "Docker-Content-Digest": digest,
    }
    body = gzip.compress(stored.data)
    fake.faults.append(Fault("GET", times=ALWAYS, status=200, headers=headers, body=body))
    name = digest if by_digest else "v1"
    assert error_of(lambda: get_manifest(repository, name)).endswith(
        "; it, or a proxy before it, sends the Content-Encoding gzip, for which nobody asked, and"
        " which has to be turned off there"
    )
    assert fake.log[0].headers["Accept-Encoding"] == "identity"
