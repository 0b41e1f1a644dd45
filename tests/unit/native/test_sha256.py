"""SHA-256 of several streams at once: always what hashlib computes."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.native.library import PACKER_VARIABLE
from nixdock.native.sha256 import Sha256, can_hash_two, new_sha256
from nixdock.system.parallel import map_in_threads

# Which of some hashes gets how many bytes, and whether it is asked for its digest then.
updates = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.one_of(st.integers(0, 200), st.sampled_from([63, 64, 65, 127, 128, 4096, 70_001])),
        st.booleans(),
    ),
    max_size=30,
)


@pytest.fixture(autouse=True)
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PACKER_VARIABLE, "native")


def check(hashes: list[Sha256], steps: list[tuple[int, int, bool]], start: int = 0) -> None:
    others = [hashlib.sha256() for _ in hashes]
    for step, (number, size, is_asked) in enumerate(steps):
        data = hashlib.shake_128(b"%d %d" % (start, step)).digest(size)
        # Of what may be changed, and of what may not, also where no machine word begins.
        views = memoryview(data), memoryview(bytearray(data)), memoryview(b"?" + data)[1:]
        hashes[number].update(views[step % 3])
        others[number].update(data)
        if is_asked:
            assert hashes[number].digest() == others[number].digest()
    assert [each.digest() for each in hashes] == [each.digest() for each in others]


@given(updates)
def test_any_updates(steps: list[tuple[int, int, bool]]) -> None:
    check([new_sha256() for _ in range(4)], steps)


@given(st.lists(updates, min_size=2, max_size=4))
def test_threads_do_not_disturb_each_other(all_steps: list[list[tuple[int, int, bool]]]) -> None:
    def run(number: int) -> None:
        check([new_sha256() for _ in range(4)], all_steps[number], number)

    map_in_threads(run, range(len(all_steps)), len(all_steps))


def test_a_hash_goes_from_thread_to_thread() -> None:
    """What waits in a thread may be hashed there and elsewhere, but only once."""
    moving, others = new_sha256(), [new_sha256() for _ in range(3)]
    expected = [hashlib.sha256() for _ in range(4)]
    turns = [threading.Barrier(2) for _ in range(40)]

    def move(parity: int) -> None:
        for number, turn in enumerate(turns):
            turn.wait()
            if number % 2 == parity:
                moving.update(b"%d" % number * 999)
            else:
                others[parity].update(b"%d" % number * 777)

    threads = [threading.Thread(target=move, args=(parity,)) for parity in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(40):
        expected[3].update(b"%d" % number * 999)
        expected[1 - number % 2].update(b"%d" % number * 777)
    assert [each.digest() for each in [*others[:2], moving]] == [
        each.digest() for each in [*expected[:2], expected[3]]
    ]


def test_known_digests() -> None:
    """The examples of FIPS 180-2, appendix B."""
    for data, digest in {
        b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": (
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
        b"a" * 1_000_000: "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        b"": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }.items():
        first, second = new_sha256(), new_sha256()
        first.update(data)
        second.update(data)
        assert (first.digest().hex(), second.digest().hex()) == (digest, digest)


def test_what_waits_is_let_go() -> None:
    data = bytearray(1 << 16)
    first, second = new_sha256(), new_sha256()
    first.update(memoryview(data))
    second.update(memoryview(data))
    assert first.digest() == second.digest()
    gc.collect()
    # Only what nobody has a view of can be resized.
    data.append(0)


@pytest.mark.parametrize("choose", ["python", "native"])
def test_either_packer(choose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PACKER_VARIABLE, choose)
    if choose == "python":
        assert not can_hash_two()
    check([new_sha256(), new_sha256()], [(0, 1000, False), (1, 500, True), (0, 64, True)])


def test_a_child_process_hashes_without_what_waits_in_its_parent() -> None:
    """Another thread of the parent may be hashing that: nobody would unlock it in the child."""
    waiting, data = new_sha256(), b"x" * 64
    waiting.update(data)
    with waiting._lock:  # type: ignore[attr-defined]
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            hashed = new_sha256()
            hashed.update(data)
            os._exit(0 if hashed.digest() == hashlib.sha256(data).digest() else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert waiting.digest() == hashlib.sha256(data).digest()
