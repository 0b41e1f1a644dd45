"""Referrers: lists that registries keep, and lists that clients keep in their place."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nixdock.errors import RegistryError
from nixdock.network.retrying import Pace
from nixdock.oci.attachment import Attachment, attach_content
from nixdock.oci.descriptor import Blob, Descriptor
from nixdock.oci.referrers import referrer_entry, referrers_tag
from nixdock.registry import shared_tags
from nixdock.registry.referrers import list_referrers, put_referrers
from nixdock.registry.repository import Repository
from nixdock.registry.transport import Transport

from .fake_registry import FakeRegistry, Fault, Stored, fake_registry
from .reaching import Clock, reach
from .virtual_time import run_together

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SPDX = "application/spdx+json"
SUBJECT = Descriptor(MANIFEST, f"sha256:{'5' * 64}", 1234)
TAG = f"sha256-{'5' * 64}"


def attached(text: str = "one", kind: str = SPDX, **annotations: str) -> Attachment:
    return attach_content(SUBJECT, Blob(kind, text.encode()), annotations)


def repository(fake: FakeRegistry, clock: Clock | None = None, **changes: Any) -> Repository:
    return Repository(reach(fake, clock=clock, **changes), "x", is_target=True)


def listed(fake: FakeRegistry, kind: str | None = None) -> list[str]:
    return [each.digest for each in list_referrers(repository(fake), SUBJECT.digest, kind)]


def tagged(fake: FakeRegistry) -> list[dict[str, Any]]:
    """Return the entries of the list that clients keep."""
    stored = fake.manifest("x", TAG)
    assert stored is not None and stored.media_type == INDEX
    entries: list[dict[str, Any]] = orjson.loads(stored.data)["manifests"]
    return entries


def digests(*attachments: Attachment) -> list[str]:
    return [each.manifest.digest for each in attachments]


def write_list(fake: FakeRegistry, *entries: Any, **keys: Any) -> str:
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, **keys}
    return fake.add_manifest("x", document, TAG)


@pytest.fixture(params=[True, False], ids=["listed", "tagged"])
def either(request: pytest.FixtureRequest, fake: FakeRegistry) -> FakeRegistry:
    """A registry that lists referrers, or one in which clients keep the lists."""
    fake.referrers = request.param
    return fake


def test_what_is_attached_is_listed(either: FakeRegistry) -> None:
    one, other = attached("one", by="me"), attached("two", "application/vnd.in-toto+json")
    assert listed(either) == []
    sent = put_referrers(repository(either), [one])
    assert sent >= len(one.manifest.data) + len(one.content.data) + len("{}")
    put_referrers(repository(either), [other])
    (first, second) = list_referrers(repository(either), SUBJECT.digest)
    assert (first.digest, first.artifact_type) == (one.manifest.digest, SPDX)
    assert first.annotations == {"by": "me"}
    assert (first.size, first.media_type) == (len(one.manifest.data), MANIFEST)
    assert second.digest == other.manifest.digest
    assert listed(either, SPDX) == digests(one)
    assert listed(either, "application/other") == []
    for each in (one, other):
        for blob in each.blobs:
            assert either.blobs["x"][blob.digest] == blob.data
    assert ("x" in either.tags) is not either.referrers


def test_blobs_go_before_the_manifest_and_it_before_the_list(either: FakeRegistry) -> None:
    one = attached()
    put_referrers(repository(either), [one])
    names = [route.rpartition("/")[2] for route in either.routes("PUT", "/manifests/")]
    assert names == [one.manifest.digest, *([] if either.referrers else [TAG])]
    last_blob = max(i for i, each in enumerate(either.log) if "/uploads/" in each.path)
    puts = [i for i, each in enumerate(either.log) if each.method == "PUT"]
    first_manifest = min(i for i in puts if "/manifests/" in either.log[i].path)
    assert last_blob < first_manifest


def test_what_is_listed_already_is_not_sent(either: FakeRegistry) -> None:
    put_referrers(repository(either), [attached()])
    before = len(either.requests("PUT|POST|PATCH"))
    assert put_referrers(repository(either), [attached()]) == 0
    assert len(either.requests("PUT|POST|PATCH")) == before
    # A list may name what is gone.
    del either.manifests["x"][attached().manifest.digest]
    assert put_referrers(repository(either), [attached()]) > 0
    assert listed(either) == digests(attached())


def test_a_manifest_that_no_list_names_is_listed_the_next_time(fake: FakeRegistry) -> None:
    """The first client stopped between the two."""
    fake.faults = [Fault("PUT", TAG, status=403)]
    with pytest.raises(RegistryError, match="403"):
        put_referrers(repository(fake), [attached()])
    assert listed(fake) == []
    put_referrers(repository(fake), [attached()])
    assert listed(fake) == digests(attached())


def test_the_registry_may_leave_the_filter_to_the_client(fake: FakeRegistry) -> None:
    fake.referrers, fake.filters_referrers = True, False
    put_referrers(repository(fake), [attached("one"), attached("two", "application/other")])
    assert listed(fake, SPDX) == digests(attached("one"))


@pytest.mark.parametrize("filters", [True, False])
def test_all_pages_are_read(fake: FakeRegistry, filters: bool) -> None:
    fake.referrers, fake.filters_referrers, fake.page = True, filters, 2
    each = [attached(str(number)) for number in range(5)]
    others = [attached(str(number), "application/other") for number in range(3)]
    put_referrers(repository(fake), [*each, *others])
    assert sorted(listed(fake)) == sorted(digests(*each, *others))
    assert sorted(listed(fake, SPDX)) == sorted(digests(*each))


def test_a_list_that_breaks_off_is_an_error(fake: FakeRegistry) -> None:
    fake.referrers, fake.page = True, 1
    put_referrers(repository(fake), [attached("one"), attached("two")])
    fake.faults = [Fault("GET", r"/referrers/.*start", status=404)]
    with pytest.raises(RegistryError, match="breaks off"):
        listed(fake)


@pytest.mark.parametrize("status", [400, 404, 405, 406, 501])
def test_registries_without_lists_answer_in_several_ways(fake: FakeRegistry, status: int) -> None:
    put_referrers(repository(fake), [attached()])
    fake.faults = [Fault("GET", "/referrers/", status=status)]
    assert listed(fake) == digests(attached())


def test_a_web_page_is_not_a_list(fake: FakeRegistry) -> None:
    put_referrers(repository(fake), [attached()])
    fake.faults = [
        Fault("GET", "/referrers/", status=200, headers={"Content-Type": "text/html"}, body=b"<p>")
    ]
    assert listed(fake) == digests(attached())


@pytest.mark.parametrize("status", [401, 403, 500])
def test_other_answers_are_errors(fake: FakeRegistry, status: int) -> None:
    put_referrers(repository(fake), [attached()])
    fake.faults = [Fault("GET", "/referrers/", status=status, times=9)]
    with pytest.raises(RegistryError, match=str(status)):
        listed(fake)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:../x","size":1}]}',
        b'{"schemaVersion":2,"manifests":[],"manifests":[]}',
    ],
)
def test_malformed_lists_are_errors(fake: FakeRegistry, body: bytes) -> None:
    fake.faults = [
        Fault("GET", "/referrers/", status=200, headers={"Content-Type": INDEX}, body=body)
    ]
    with pytest.raises(RegistryError, match="the list of referrers of sha256:5"):
        listed(fake)


def test_a_list_may_have_null_for_no_entries(fake: FakeRegistry) -> None:
    body = b'{"schemaVersion":2,"manifests":null}'
    fake.faults = [
        Fault("GET", "/referrers/", status=200, headers={"Content-Type": INDEX}, body=body)
    ]
    assert listed(fake) == []
    fake.add_manifest("x", {"schemaVersion": 2, "mediaType": INDEX, "manifests": None}, TAG)
    put_referrers(repository(fake), [attached()])
    assert listed(fake) == digests(attached())


def test_an_entry_is_given_once(fake: FakeRegistry) -> None:
    put_referrers(repository(fake), [attached()])
    write_list(fake, *tagged(fake), *tagged(fake))
    assert listed(fake) == digests(attached())


# Lists that clients keep.


def test_a_list_has_what_the_manifests_say(fake: FakeRegistry) -> None:
    one = attached("one", by="me")
    put_referrers(repository(fake), [one])
    assert tagged(fake) == [referrer_entry(one.manifest)]
    assert tagged(fake)[0] == {
        "mediaType": MANIFEST,
        "digest": one.manifest.digest,
        "size": len(one.manifest.data),
        "artifactType": SPDX,
        "annotations": {"by": "me"},
    }


def test_the_type_of_an_artifact_may_be_that_of_its_config(fake: FakeRegistry) -> None:
    config = Blob("application/vnd.example", b"{}")
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor().document(),
        "layers": [],
        "subject": SUBJECT.document(),
    }
    put_referrers(repository(fake), [Attachment(Blob(MANIFEST, orjson.dumps(document)), (config,))])
    assert tagged(fake)[0]["artifactType"] == "application/vnd.example"


def test_what_others_have_written_stays_as_it_is(fake: FakeRegistry) -> None:
    theirs = fake.add_manifest("x", {"mediaType": MANIFEST, "subject": SUBJECT.document()})
    entry = {"mediaType": MANIFEST, "digest": theirs, "size": 1, "new": {"key": [1]}}
    write_list(fake, entry, annotations={"a": "b"}, new=1)
    put_referrers(repository(fake), [attached()])
    stored = fake.manifest("x", TAG)
    assert stored is not None
    document = orjson.loads(stored.data)
    assert document["manifests"] == [entry, referrer_entry(attached().manifest)]
    assert (document["annotations"], document["new"]) == ({"a": "b"}, 1)


def test_entries_whose_manifests_are_gone_are_dropped_if_they_are_in_the_way(
    fake: FakeRegistry,
) -> None:
    gone = {"mediaType": MANIFEST, "digest": f"sha256:{'6' * 64}", "size": 1}
    write_list(fake, gone)
    put_referrers(repository(fake), [attached()])
    assert listed(fake) == digests(attached())


def test_an_image_with_the_tag_of_a_list_is_not_touched(fake: FakeRegistry) -> None:
    image = fake.add_manifest("x", {"mediaType": MANIFEST, "layers": [], "config": {}}, TAG)
    with pytest.raises(RegistryError, match="is an image, and no list of referrers"):
        put_referrers(repository(fake), [attached()])
    assert fake.tags["x"][TAG] == image


def test_the_subject_itself_is_not_its_list(fake: FakeRegistry) -> None:
    """Some registries give the manifest with the digest for such a tag."""
    child = attached()
    put_referrers(repository(fake), [child])
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": tagged(fake)}
    subject = fake.add_manifest("x", document)
    fake.tags["x"] = {referrers_tag(subject): subject}
    assert list_referrers(repository(fake), subject) == []


def test_a_list_that_another_client_overwrites_is_written_again(fake: FakeRegistry) -> None:
    theirs = attached("theirs")
    fake.add_manifest("x", orjson.loads(theirs.manifest.data))
    clock = Clock()
    overwrites = iter([True, True, False])

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if next(overwrites):
            # They have read the list before.
            write_list(fake, referrer_entry(theirs.manifest))

    own = repository(fake, pace=clock.pace(sleep=sleep))
    put_referrers(own, [attached("ours")])
    assert listed(fake) == digests(theirs, attached("ours"))
    assert len(fake.requests("PUT", TAG)) == 3
    assert clock.slept == [2.0, 4.0, 8.0]


def test_a_list_that_the_registry_does_not_keep_is_an_error(fake: FakeRegistry) -> None:
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        write_list(fake)

    with pytest.raises(RegistryError, match="still lacks sha256:"):
        put_referrers(repository(fake, pace=clock.pace(sleep=sleep)), [attached()])
    assert len(fake.requests("PUT", TAG)) == shared_tags._MOST_WRITES
    assert max(clock.slept) <= 8.0


@pytest.mark.parametrize("status", [429, 503])
def test_a_list_is_read_anew_before_it_is_sent_again(fake: FakeRegistry, status: int) -> None:
    theirs = attached("theirs")
    fake.add_manifest("x", orjson.loads(theirs.manifest.data))
    fake.faults = [Fault("PUT", TAG, status=status)]
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.slept) == 1:
            write_list(fake, referrer_entry(theirs.manifest))

    put_referrers(repository(fake, pace=clock.pace(sleep=sleep)), [attached("ours")])
    assert listed(fake) == digests(theirs, attached("ours"))


def test_a_list_is_sent_as_often_as_the_registry_may_fail(fake: FakeRegistry) -> None:
    headers = {"Retry-After": "50"}
    fake.faults.append(Fault("PUT", TAG, status=429, headers=headers, times=99))
    clock = Clock()
    with pytest.raises(RegistryError, match="answers 429"):
        put_referrers(repository(fake, clock), [attached()])
    assert len(fake.requests("PUT", TAG)) == 5
    assert clock.slept == [50.0] * 4


def test_an_error_that_does_not_pass_is_raised_in_the_end(fake: FakeRegistry) -> None:
    fake.faults = [Fault("PUT", TAG, status=503, times=100)]
    with pytest.raises(RegistryError, match="503"):
        put_referrers(repository(fake), [attached()])


UNKNOWN = orjson.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "not there"}]})


def test_a_list_without_what_is_new_is_not_sent(fake: FakeRegistry) -> None:
    """The registry does not find the new manifest: it is a replica, or has removed it again."""
    theirs, ours = attached("theirs"), attached("ours")
    fake.add_manifest("x", orjson.loads(theirs.manifest.data))
    write_list(fake, referrer_entry(theirs.manifest))
    fake.faults = [
        Fault("HEAD", ours.manifest.digest, status=404, times=100),
        Fault("PUT", TAG, status=404, body=UNKNOWN, times=100),
    ]
    with pytest.raises(RegistryError) as caught:
        put_referrers(repository(fake), [ours])
    assert "MANIFEST_UNKNOWN" in caught.value.codes
    assert len(fake.requests("PUT", TAG)) == 1
    assert listed(fake) == digests(theirs)


def test_a_registry_may_say_that_it_lacks_a_manifest(fake: FakeRegistry) -> None:
    """Of those that are in the way, some say so in other words."""
    write_list(fake, {"mediaType": MANIFEST, "digest": f"sha256:{'6' * 64}", "size": 1})
    fake.faults = [Fault("PUT", TAG, status=404, body=UNKNOWN)]
    put_referrers(repository(fake), [attached()])
    assert listed(fake) == digests(attached())
    assert len(fake.requests("PUT", TAG)) == 2


@pytest.mark.parametrize("is_kept", [True, False])
def test_what_counts_is_how_the_last_attempt_ended(fake: FakeRegistry, is_kept: bool) -> None:
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if not is_kept or len(clock.slept) < shared_tags._MOST_WRITES:
            write_list(fake)

    fake.faults = [Fault("PUT", TAG, status=503)]
    own = repository(fake, pace=clock.pace(sleep=sleep))
    if is_kept:
        put_referrers(own, [attached()])
        assert listed(fake) == digests(attached())
    else:
        with pytest.raises(RegistryError, match="still lacks sha256:"):
            put_referrers(own, [attached()])


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


def attach_together(fake: FakeRegistry, count: int, delays: random.Random) -> list[str]:
    """Let clients attach at the same time, each way taking up to 0.24 s; return what is lost."""
    fake.manifests.clear()
    fake.tags.clear()
    each = [attached(str(number)) for number in range(count)]

    def job(attachment: Attachment) -> Any:
        return lambda transport: put_referrers(Repository(transport, "x"), [attachment])

    run_together(fake.host, [job(one) for one in each], lambda: delays.uniform(0.0, 0.24))
    return sorted({*digests(*each)} - {entry["digest"] for entry in tagged(fake)})


@pytest.mark.slow
@settings(max_examples=10)
@given(count=st.integers(2, 5), delays=st.randoms(use_true_random=False))
def test_clients_that_attach_at_the_same_time_lose_nothing(
    shared: FakeRegistry, count: int, delays: random.Random
) -> None:
    assert attach_together(shared, count, delays) == []


def test_without_looking_again_something_is_lost(
    shared: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test before this one could fail."""
    monkeypatch.setattr(Transport, "wait", lambda *_: None)
    seeds = range(20)
    assert any(attach_together(shared, 3, random.Random(seed)) for seed in seeds)


def test_the_last_look_comes_a_second_after_the_list_was_written() -> None:
    assert min(Pace(jitter=lambda: 0.0).delay(attempt) for attempt in (1, 2, 3)) >= 1.0


def test_a_stored_manifest_is_what_was_sent(either: FakeRegistry) -> None:
    one = attached()
    put_referrers(repository(either), [one])
    assert either.manifest("x", one.manifest.digest) == Stored(MANIFEST, one.manifest.data)
