from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from nixdock.stores.answer_cache import AnswerCache
from tests.unit.network.clock import Clock

URL = "https://cache.example.org"
DAY = 24 * 3600


def test_answers_are_known_as_long_as_nix_knows_them(tmp_path: Path) -> None:
    clock = Clock()
    AnswerCache(tmp_path, clock.now).add(URL, "present", b"text")
    AnswerCache(tmp_path, clock.now).add(URL, "absent", None)
    cache = AnswerCache(tmp_path, clock.now)
    assert cache.find(URL, "present") == (b"text",)
    assert cache.find(URL, "absent") == (None,)
    assert cache.find(URL, "unknown") is None
    assert cache.find(f"{URL}/other", "present") is None
    clock.time += 3599
    assert cache.find(URL, "absent") == (None,)
    clock.time += 1
    assert cache.find(URL, "absent") is None
    clock.time += 30 * DAY - 3601
    assert cache.find(URL, "present") == (b"text",)
    clock.time += 1
    assert cache.find(URL, "present") is None
    clock.time -= 31 * DAY
    assert cache.find(URL, "present") is None, "it is from the future"


def test_old_answers_are_dropped(tmp_path: Path) -> None:
    clock = Clock()
    AnswerCache(tmp_path, clock.now).add(URL, "old", b"text")
    clock.time += 31 * DAY
    AnswerCache(tmp_path, clock.now).add(URL, "new", b"text")
    with sqlite3.connect(tmp_path / "binary-caches.sqlite") as connection:
        assert connection.execute("select name from Answers").fetchall() == [("new",)]
    connection.close()


def test_a_newer_answer_replaces_an_older_one(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    cache.add(URL, "name", None)
    cache.add(URL, "name", b"text")
    assert cache.find(URL, "name") == (b"text",)


def test_what_is_added_together_is_known_in_the_end(tmp_path: Path) -> None:
    cache, other = AnswerCache(tmp_path), AnswerCache(tmp_path)
    with cache.together():
        with cache.together():
            cache.add(URL, "one", b"text")
        cache.add(URL, "two", None)
        # Nobody else has to wait meanwhile.
        other.add(URL, "three", None)
        pid = os.fork()
        if not pid:
            # It is not within the block, whose answers the parent writes.
            cache.add(URL, "child", b"child")
            os._exit(0 if cache.find(URL, "one") is None else 1)
        assert os.waitpid(pid, 0)[1] == 0
    found = [other.find(URL, name) for name in ("one", "two", "three", "child")]
    assert found == [(b"text",), (None,), (None,), (b"child",)]
    with cache.together():
        for number in range(1000):
            cache.add(URL, str(number), None)
        assert other.find(URL, "0") == (None,)
        assert other.find(URL, "999") == (None,)


def test_little_is_looked_for_of_a_cache_that_is_new(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    cache.add(f"{URL}/other", "0", b"text")
    asked: list[str] = []
    connection = cache._opened()
    assert connection is not None
    connection.set_trace_callback(asked.append)
    with cache.together():
        assert [cache.find(URL, str(number)) for number in range(100)] == [None] * 100
        assert len(asked) == 1
        assert cache.find(f"{URL}/other", "0") == (b"text",)
        cache.add(URL, "0", b"text")
    assert cache.find(URL, "0") == (b"text",)
    AnswerCache(tmp_path).add(URL, "1", None)
    with cache.together():
        assert cache.find(URL, "1") == (None,)


def test_without_a_directory_nothing_is_known() -> None:
    cache = AnswerCache(None)
    cache.add(URL, "name", b"text")
    assert cache.find(URL, "name") is None


def test_whatever_is_wrong_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "binary-caches.sqlite").write_bytes(b"no database" * 1000)
    cache = AnswerCache(tmp_path)
    cache.add(URL, "name", b"text")
    assert cache.find(URL, "name") is None
    (tmp_path / "file").touch()
    cache = AnswerCache(tmp_path / "file")
    cache.add(URL, "name", b"text")
    assert cache.find(URL, "name") is None


def test_another_version_is_begun_anew(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "binary-caches.sqlite") as connection:
        connection.execute("create table Answers (x)")
        connection.execute("pragma user_version = 7")
    connection.close()
    cache = AnswerCache(tmp_path)
    cache.add(URL, "name", b"text")
    assert cache.find(URL, "name") == (b"text",)


def test_child_processes_have_connections_of_their_own(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    cache.add(URL, "name", b"text")
    pid = os.fork()
    if not pid:
        cache.add(URL, "child", b"text")
        os._exit(0 if cache.find(URL, "name") == (b"text",) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert cache.find(URL, "child") == (b"text",)
