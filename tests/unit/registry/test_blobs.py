"""Blobs: uploads and downloads that break, and registries that do less than they should."""

from __future__ import annotations

import hashlib
from typing import Literal

import pytest

from nixdock.errors import RegistryError
from nixdock.network.body import Body
from nixdock.network.retrying import Pace
from nixdock.registry.access import Access
from nixdock.registry.blobs import BlobReader, has_blob, mount_blob, start_of_blob, upload_blob
from nixdock.registry.repository import Repository
from nixdock.registry.transport import Transport
from tests.runtime.command import wait_until

from .fake_registry import FakeRegistry, Fault, digest_of
from .reaching import Clock, reach

DATA = hashlib.shake_256(b"blob").digest(300_000)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
Where = Literal["relative", "absolute", "query", "storage"]


@pytest.fixture
def repository(fake: FakeRegistry) -> Repository:
    access = Access(pace=Pace(sleep=lambda seconds: None))
    return Repository(Transport(fake.host, access), "some/repository")


def upload(repository: Repository) -> None:
    upload_blob(repository, DIGEST, Body.of(DATA))


def stored(fake: FakeRegistry) -> bytes:
    return fake.blobs["some/repository"][DIGEST]


@pytest.mark.parametrize("where", ["relative", "absolute", "query", "storage"])
def test_an_upload(fake: FakeRegistry, repository: Repository, where: Where) -> None:
    fake.location = where
    upload(repository)
    assert stored(fake) == DATA
    assert has_blob(repository, DIGEST)
    assert [each.method for each in fake.log] == ["GET", "POST", "PUT", "HEAD"][-len(fake.log) :]


@pytest.mark.parametrize("where", ["relative", "absolute", "query", "storage"])
@pytest.mark.parametrize("cut", [0, 1, 1000, 299_999])
def test_an_upload_that_breaks_goes_on(
    fake: FakeRegistry, repository: Repository, cut: int, where: Where
) -> None:
    fake.location = where
    fake.faults.append(Fault("PUT", cut=cut))
    upload(repository)
    assert stored(fake) == DATA
    # What has arrived is not sent again, if the registry can tell what that is.
    received = sum(each.received for each in fake.requests("PUT|PATCH"))
    # Like Docker's registry, this one knows no upload with a state that is out of date.
    can_go_on = cut > 1 and where != "query"
    assert received == len(DATA) + (0 if can_go_on else cut)


def test_an_upload_that_breaks_twice(fake: FakeRegistry, repository: Repository) -> None:
    fake.faults += [Fault("PUT", cut=1000), Fault("PATCH", cut=2000)]
    upload(repository)
    assert stored(fake) == DATA
    assert sum(each.received for each in fake.requests("PUT|PATCH")) == len(DATA)


def test_an_upload_that_is_forgotten_begins_anew(
    fake: FakeRegistry, repository: Repository
) -> None:
    fake.faults += [Fault("PUT", cut=1000), Fault("GET", "uploads", status=404)]
    upload(repository)
    assert stored(fake) == DATA
    assert len(fake.requests("POST")) == 2


@pytest.mark.parametrize("where", ["relative", "query"])
def test_the_rest_may_be_smaller_than_a_piece(
    fake: FakeRegistry, repository: Repository, where: Where
) -> None:
    """It is then sent with the request that ends the upload, where it is surely the last piece."""
    fake.location = where
    fake.chunk_min = 200_000
    fake.faults.append(Fault("PUT", cut=250_000))
    upload(repository)
    assert stored(fake) == DATA
    assert fake.requests("PATCH") == []
    received = sum(each.received for each in fake.requests("PUT"))
    assert received == len(DATA) + (0 if where == "relative" else 250_000)


def test_a_piece_that_is_large_enough(fake: FakeRegistry, repository: Repository) -> None:
    fake.chunk_min = 200_000
    fake.faults.append(Fault("PUT", cut=1000))
    upload(repository)
    assert stored(fake) == DATA
    assert len(fake.requests("PATCH")) == 1


def test_a_registry_without_pieces_gets_the_blob_again(
    fake: FakeRegistry, repository: Repository
) -> None:
    fake.refuses_chunks = True
    fake.faults.append(Fault("PUT", cut=1000))
    upload(repository)
    assert stored(fake) == DATA
    assert sum(each.received for each in fake.requests("PUT")) == 1000 + len(DATA)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 501])
def test_a_registry_that_does_not_say_what_has_come_gets_the_blob_again(
    fake: FakeRegistry, repository: Repository, status: int
) -> None:
    fake.faults += [Fault("PUT", cut=1000), Fault("GET", "uploads", status=status)]
    upload(repository)
    assert stored(fake) == DATA
    assert len(fake.requests("POST")) == 2


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("times", [1, 9])
def test_a_registry_that_may_say_later_what_has_come_is_asked_twice(
    fake: FakeRegistry, status: int, times: int
) -> None:
    fake.faults += [Fault("PUT", cut=1000), Fault("GET", "uploads", status=status, times=times)]
    clock = Clock()
    upload(Repository(reach(fake, clock=clock), "some/repository"))
    assert stored(fake) == DATA
    assert len(fake.requests("GET", "uploads")) == 2
    assert len(fake.requests("POST")) == (1 if times == 1 else 2)
    assert clock.slept == [2.0, 4.0]


def test_a_whole_blob_that_is_refused_is_not_sent_again(
    fake: FakeRegistry, repository: Repository
) -> None:
    """It is the blob that is wrong then, and no piece of it."""
    fake.faults += [Fault("PUT", cut=0), Fault("PUT", status=413, times=9)]
    with pytest.raises(RegistryError) as caught:
        upload(repository)
    assert caught.value.status == 413
    assert len(fake.requests("PUT")) == 2


def test_an_upload_that_always_breaks_is_an_error(
    fake: FakeRegistry, repository: Repository
) -> None:
    fake.faults.append(Fault("PUT|PATCH", "uploads", times=100, cut=0))
    with pytest.raises(RegistryError, match=DIGEST) as caught:
        upload(repository)
    assert caught.value.place == f"{fake.host}/some/repository"
    assert len(fake.requests("PUT|PATCH")) == repository.transport.attempts


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("after", "slept"), [("40", [40.0] * 4), ("", [2.0, 4.0, 8.0, 16.0])])
def test_an_upload_is_tried_as_often_as_any_request(
    fake: FakeRegistry, status: int, after: str, slept: list[float]
) -> None:
    """The requests of which it consists share the attempts, and heed Retry-After."""
    headers = {"Retry-After": after} if after else {}
    fake.faults.append(Fault("PUT", status=status, headers=headers, times=99))
    clock = Clock()
    with pytest.raises(RegistryError, match=f"answers {status}"):
        upload(Repository(reach(fake, clock=clock), "some/repository"))
    assert len(fake.requests("PUT")) == 5
    assert clock.slept == slept


def test_all_requests_of_an_upload_share_the_attempts(fake: FakeRegistry) -> None:
    fake.faults += [
        Fault("POST", status=503, times=2),
        Fault("PUT", cut=0),
        Fault("HEAD", status=500, times=99),
    ]
    clock = Clock()
    with pytest.raises(RegistryError, match="answers 500"):
        upload(Repository(reach(fake, clock=clock), "some/repository"))
    assert [len(fake.requests(each)) for each in ("POST", "PUT", "HEAD")] == [3, 1, 2]
    assert clock.slept == [2.0, 4.0, 8.0, 16.0]


def test_an_upload_that_gets_on_is_not_given_up(fake: FakeRegistry, repository: Repository) -> None:
    fake.faults.append(Fault("PUT|PATCH", "uploads", times=100, cut=40_000))
    with pytest.raises(RegistryError):
        upload(repository)
    assert len(fake.requests("PUT|PATCH")) == 5
    fake.faults = [Fault("PUT|PATCH", "uploads", times=100, cut=1 << 16)]
    data = bytes(1 << 19)
    with pytest.raises(RegistryError):
        # The request that ends the upload breaks, too.
        upload_blob(repository, digest_of(data), Body.of(data))
    assert sum(each.received for each in fake.requests("PUT|PATCH")[5:]) == len(data)


def test_what_the_source_lacks_is_no_fault_of_the_upload(
    fake: FakeRegistry, repository: Repository
) -> None:
    """Its errors have statuses as well, and may be of a transfer that breaks."""
    elsewhere = Repository(repository.transport, "elsewhere")
    body = Body(len(DATA), lambda: BlobReader(elsewhere, DIGEST))
    with pytest.raises(RegistryError, match="elsewhere") as caught:
        upload_blob(repository, DIGEST, body)
    assert caught.value.status == 404
    # The registry may not have read the headers of the PUT that broke yet.
    wait_until(lambda: bool(fake.requests("PUT")), what="the upload")
    assert len(fake.requests("POST")) == len(fake.requests("PUT")) == 1
    fake.add_blob("elsewhere", DATA)
    fake.faults.append(Fault("GET", "blobs", cut=0, times=99))
    with pytest.raises(RegistryError, match="elsewhere"):
        upload_blob(repository, DIGEST, body)
    assert len(fake.requests("GET", "elsewhere/blobs")) == 1 + repository.transport.attempts
    assert len(fake.requests("POST")) == 2


def test_another_digest_is_refused(fake: FakeRegistry, repository: Repository) -> None:
    with pytest.raises(RegistryError, match="DIGEST_INVALID"):
        upload_blob(repository, DIGEST, Body.of(DATA[:-1]))
    assert not has_blob(repository, DIGEST)


def test_mounts(fake: FakeRegistry, repository: Repository) -> None:
    fake.add_blob("other", DATA)
    assert mount_blob(repository, DIGEST, "other") is None
    assert stored(fake) == DATA


def test_a_mount_that_is_refused_is_the_begin_of_an_upload(
    fake: FakeRegistry, repository: Repository
) -> None:
    location = mount_blob(repository, DIGEST, "none")
    assert location is not None
    upload_blob(repository, DIGEST, Body.of(DATA), location)
    assert stored(fake) == DATA
    assert len(fake.requests("POST")) == 1


def test_the_start_of_a_blob(fake: FakeRegistry, repository: Repository) -> None:
    fake.add_blob("some/repository", DATA)
    assert start_of_blob(repository, DIGEST, 6) == DATA[:6]
    small = fake.add_blob("some/repository", b"abc")
    assert start_of_blob(repository, small, 6) == b"abc"
    fake.ignores_range = True
    assert start_of_blob(repository, DIGEST, 6) == DATA[:6]


@pytest.mark.parametrize("ignores_range", [False, True])
@pytest.mark.parametrize("redirected", [False, True])
def test_a_download_that_breaks_goes_on(
    fake: FakeRegistry, repository: Repository, ignores_range: bool, redirected: bool
) -> None:
    fake.ignores_range, fake.redirect_blobs = ignores_range, redirected
    fake.add_blob("some/repository", DATA)
    fake.faults += [Fault("GET", "blobs", cut=1000), Fault("GET", "blobs", cut=50_000)]
    with BlobReader(repository, DIGEST) as reader:
        assert reader.readall() == DATA


def test_a_download_of_which_only_the_end_is_broken(
    fake: FakeRegistry, repository: Repository
) -> None:
    fake.add_blob("some/repository", DATA)
    headers = {"Transfer-Encoding": "chunked"}
    # The piece without bytes, with which such an answer ends, is missing.
    body = b"%x\r\n%b\r\n" % (len(DATA), DATA)
    fault = Fault("GET", "blobs", status=200, headers=headers, body=body, early=True)
    fake.faults.append(fault)
    with BlobReader(repository, DIGEST) as reader:
        assert reader.readall() == DATA
    assert len(fake.requests("GET", "blobs")) == 2


@pytest.mark.parametrize("start", [0, 1, 299_999, 300_000])
@pytest.mark.parametrize("ignores_range", [False, True])
def test_a_download_from_a_position(
    fake: FakeRegistry, repository: Repository, ignores_range: bool, start: int
) -> None:
    fake.ignores_range = ignores_range
    fake.add_blob("some/repository", DATA)
    with BlobReader(repository, DIGEST, start) as reader:
        assert reader.readall() == DATA[start:]


def test_a_blob_that_is_missing(fake: FakeRegistry, repository: Repository) -> None:
    with pytest.raises(RegistryError) as caught, BlobReader(repository, DIGEST) as reader:
        reader.read(1)
    assert caught.value.status == 404
