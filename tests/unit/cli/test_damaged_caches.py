"""Whatever a cache sends, there is a clear error, and nothing is written or published."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runtime.command import wait_until
from tests.unit.cli.cached_images import cache, closure, nixdock, registry, remote_spec
from tests.unit.cli.program import PROGRAM, environment
from tests.unit.registry.fake_registry import FakeRegistry, Fault
from tests.unit.stores.fake_cache import FakeCache
from tests.unit.stores.sample_cache import (
    COMPRESSORS,
    LIBC,
    SCRIPT,
    SECRET,
    Sample,
    public_key,
    signature,
)

__all__ = ["cache", "closure", "registry"]

STRANGER = type(SECRET)(bytes(range(32)))


def narinfo(cache: FakeCache) -> Path:
    return cache.directory / f"{LIBC.hash_part}.narinfo"


def nar(cache: FakeCache) -> Path:
    return cache.directory / f"nar/{LIBC.hash_part}.nar.xz"


def tampered(cache: FakeCache, closure: Sample) -> None:
    nar(cache).write_bytes(COMPRESSORS["xz"](closure.nars[LIBC].replace(b"long", b"gone")))


def of_another_size(cache: FakeCache, closure: Sample) -> None:
    nar(cache).write_bytes(COMPRESSORS["xz"](closure.nars[SCRIPT]))


def of_a_wrong_promise(cache: FakeCache, closure: Sample) -> None:
    """Somebody who is trusted has promised another size."""
    info = closure.closure[LIBC]
    change(cache, f"NarSize: {info.nar_size}", f"NarSize: {info.nar_size + 8}")


def truncated(cache: FakeCache, _: Sample) -> None:
    nar(cache).write_bytes(nar(cache).read_bytes()[:-30])


def change(cache: FakeCache, old: str, new: str) -> None:
    text = narinfo(cache).read_text()
    assert old in text
    narinfo(cache).write_text(text.replace(old, new))


def forged(cache: FakeCache, closure: Sample) -> None:
    info = closure.closure[LIBC]
    change(cache, signature(info), signature(info, STRANGER))


def by_a_stranger(cache: FakeCache, closure: Sample) -> None:
    info = closure.closure[LIBC]
    change(cache, signature(info), signature(info, STRANGER, "stranger-1"))


def unsigned(cache: FakeCache, closure: Sample) -> None:
    change(cache, f"Sig: {signature(closure.closure[LIBC])}\n", "")


def of_another_path(cache: FakeCache, _: Sample) -> None:
    narinfo(cache).write_bytes((cache.directory / f"{SCRIPT.hash_part}.narinfo").read_bytes())


def endless(cache: FakeCache, _: Sample) -> None:
    narinfo(cache).write_bytes(b"X: y\n" * 1_000_000)


def in_a_circle(cache: FakeCache, _: Sample) -> None:
    cache.faults = [Fault(path=r"\.nar\.", status=302, headers={"Location": "x.nar.xz"}, times=999)]


def lacking(cache: FakeCache, _: Sample) -> None:
    narinfo(cache).unlink()


def lacking_the_nar(cache: FakeCache, _: Sample) -> None:
    nar(cache).unlink()


def refused(cache: FakeCache, _: Sample) -> None:
    cache.password = "Basic x"


DAMAGES: list[tuple[Callable[[FakeCache, Sample], None], str]] = [
    (tampered, "the hash of its NAR is sha256-"),
    (of_another_size, "its NAR has"),
    (of_a_wrong_promise, "but its signature by test-1 is forged"),
    (truncated, "the xz data is truncated: it ends after"),
    (forged, "but its signature by test-1 is forged"),
    (by_a_stranger, "but it is signed by stranger-1, whose public key is not trusted"),
    (unsigned, "but it is not signed"),
    (of_another_path, f"is not a valid narinfo: it is that of {SCRIPT}, not of {LIBC}"),
    (endless, "the cache's answer has more than 1048576 bytes"),
    (in_a_circle, "the cache's word is not followed: there are more than 10 redirects"),
    (lacking, f"no store to be trusted has {LIBC}; asked were the local store"),
    (lacking_the_nar, "the cache answers 404, although it has a narinfo of the path"),
    (refused, "the cache answers 401; it wants a password: put one into"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_nothing_is_written(
    closure: Sample,
    cache: FakeCache,
    registry: FakeRegistry,
    tmp_path: Path,
    damage: Callable[[FakeCache, Sample], None],
    message: str,
) -> None:
    damage(cache, closure)
    spec = remote_spec(tmp_path, cache)
    output = tmp_path / "output"
    output.mkdir()
    for command in (
        ["build", spec, "-o", output / "image"],
        ["build", spec, "-o", output / "layout", "--format", "oci-layout"],
        ["push", spec, f"{registry.host}/x:1"],
    ):
        error = nixdock(tmp_path, *command, status=1).splitlines()[-1]
        assert error.startswith("error: ")
        assert cache.url in error
        assert message in error
    assert [*output.iterdir()] == []
    assert registry.manifests == {}


def test_a_stranger_may_be_trusted(closure: Sample, cache: FakeCache, tmp_path: Path) -> None:
    by_a_stranger(cache, closure)
    spec = remote_spec(tmp_path, cache)
    trust = ["--trusted-public-key", public_key(STRANGER, "stranger-1")]
    assert nixdock(tmp_path, "build", spec, "-o", tmp_path / "image", *trust).startswith("sha256:")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("path", ["nix-cache-info", "narinfo", "nar/"])
def test_an_interrupt_does_not_wait_for_a_cache(
    cache: FakeCache, tmp_path: Path, number: int, path: str
) -> None:
    cache.faults = [Fault(path=path, cut=0, stall=True, times=99)]
    spec = remote_spec(tmp_path, cache)
    env = environment(HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "c"), NIX_CONF_DIR="/none")
    command = [*PROGRAM, "build", str(spec), "-q", "-o", str(tmp_path / "image")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as build:
        wait_until(lambda: bool(cache.requests(path=path)), timeout=60, what="a request")
        build.send_signal(number)
        began = time.monotonic()
        # The cache is silent for a minute, and would be asked five times.
        _, err = build.communicate(timeout=30)
    assert time.monotonic() - began < 5
    is_interrupt = number == signal.SIGINT
    assert build.returncode == (130 if is_interrupt else 143)
    assert err == ("\nerror: interrupted\n" if is_interrupt else "error: terminated\n")
    assert not (tmp_path / "image").exists()
