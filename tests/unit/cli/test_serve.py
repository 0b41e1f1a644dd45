"""`nixdock serve`: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import nixdock
from tests.unit.cli.program import PROGRAM, enlarge, environment, run_text
from tests.unit.stores.fake_cache import fake_cache
from tests.unit.stores.sample_cache import APP, KEY, sample

SampleSpec = Callable[..., Path]


def settings(home: Path) -> dict[str, str]:
    (home / "tmp").mkdir(exist_ok=True)
    return environment(HOME=str(home), XDG_CACHE_HOME=str(home), TMPDIR=str(home / "tmp"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_it_serves_until_it_gets_a_signal(
    sample_spec: SampleSpec, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    spec = sample_spec(tmp_path)
    built = nixdock.build_image(nixdock.read_spec(spec), tmp_path / "image", form="oci-layout")
    with subprocess.Popen(
        [*PROGRAM, "serve", spec],
        env=settings(tmp_path) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        reference = process.stdout.readline().strip()
        assert reference.startswith("127.0.0.1:")
        assert reference.endswith("/x/y:v1")
        pulled = nixdock.pull_image(reference, tmp_path / "pulled")
        assert pulled.digest == built.manifest.digest
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert [*(tmp_path / "tmp").iterdir()] == []
    last = err.splitlines()[-1]
    if status == 0:
        assert last.startswith(f"served {len(built.layers) + 1} blobs, ")
    else:
        assert last == "error: terminated"


@pytest.mark.parametrize("state", ["gone", "full", "closed"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_whoever_reads_its_errors(
    sample_spec: SampleSpec, tmp_path: Path, number: signal.Signals, state: str
) -> None:
    """As a terminal that is closed, or a pipe into a program that hangs."""
    reader, writer = os.pipe()
    if state == "gone":
        os.close(reader)
    elif state == "full":
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while os.write(writer, bytes(1 << 12)):
                pass
        os.set_blocking(writer, True)
    words = [*PROGRAM, "serve", "-q", str(sample_spec(tmp_path))]
    with subprocess.Popen(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *words] if state == "closed" else words,
        env=settings(tmp_path) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=writer,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        try:
            assert process.wait(30) == 128 + number
        finally:
            process.kill()
    os.close(writer)
    if state != "gone":
        with os.fdopen(reader, "rb") as file:
            assert b"error" not in file.read()
    assert [*(tmp_path / "tmp").iterdir()] == []


@pytest.mark.slow
def test_the_closure_may_be_in_a_binary_cache(tmp_path: Path) -> None:
    closure, spec = sample(tmp_path / "closure"), tmp_path / "spec.json"
    document = {"version": 1, "name": "x", "closure": {"graph": "/none"}, "contents": [APP]}
    spec.write_text(json.dumps(document))
    words = [spec, "--root", APP, "--trusted-public-key", KEY, "--store"]
    with (
        fake_cache(closure.cache(tmp_path / "cache", listings=True)) as cache,
        subprocess.Popen(
            [*PROGRAM, "serve", *map(str, words), cache.url],
            env=settings(tmp_path) | {"PYTHONUNBUFFERED": "1", "NIX_CONF_DIR": "/none"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        reference = process.stdout.readline().strip()
        pulled = nixdock.pull_image(reference, tmp_path / "pulled")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    document |= {"closure": {"graph": str(closure.graph)}, "store": {"root": str(closure.root)}}
    spec.write_text(json.dumps(document))
    assert pulled.digest == nixdock.image_digests(nixdock.read_spec(spec)).manifest.digest


def test_a_signal_ends_the_packing_of_layers(sample_spec: SampleSpec, tmp_path: Path) -> None:
    """References are there, and the server answers, before that has ended."""
    spec = sample_spec(tmp_path)
    # Nobody can wait until so many zeros are packed.
    enlarge(tmp_path, "libc", "lib/libc.so.6", 1 << 40)
    with subprocess.Popen(
        [*PROGRAM, "serve", spec],
        env=settings(tmp_path) | {"PYTHONUNBUFFERED": "1", "NIX_BUILD_CORES": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        reference = process.stdout.readline().strip()
        with urllib.request.urlopen(f"http://{reference.partition('/')[0]}/v2/") as answer:
            assert answer.read() == b"{}"
        # Packing goes on: the layers that are small are packed.
        assert process.stderr.readline().startswith("layer ")
        # As a terminal sends it.
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert [*(tmp_path / "tmp").iterdir()] == []


@pytest.mark.parametrize("quiet", [True, False])
def test_a_failure_of_packing_ends_the_server(
    sample_spec: SampleSpec, tmp_path: Path, quiet: bool
) -> None:
    spec = sample_spec(tmp_path)
    (tmp_path / "root/nix/store" / ("a" * 32 + "-libc")).rename(tmp_path / "libc")
    done = run_text("serve", *["-q"][:quiet], spec, env=settings(tmp_path))
    assert done.returncode == 1
    assert done.stdout.endswith("/x/y:v1\n")
    *progress, error = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert "libc does not exist" in error
    assert {line.partition(" ")[0] for line in progress} <= (set() if quiet else {"layer"})
    assert [*(tmp_path / "tmp").iterdir()] == []


@pytest.mark.parametrize("limit", ["--for", "--until-idle"])
def test_it_ends_by_itself(sample_spec: SampleSpec, tmp_path: Path, limit: str) -> None:
    spec = sample_spec(tmp_path)
    other = {"--for": "--until-idle", "--until-idle": "--for"}[limit]
    limits = (limit, "0.01", other, "3153600000")
    done = run_text("serve", "-q", spec, *limits, env=settings(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert [*(tmp_path / "tmp").iterdir()] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "nowhere"], "'nowhere' is not an address: expected HOST:PORT"),
        *(
            ([option, seconds], f"'{seconds}' is not a time; expected a number of seconds above 0")
            for option in ("--for", "--until-idle")
            for seconds in ("0", "-1", "nan", "inf", "-inf", "1e300", "3153600001", "1e-999", "x")
        ),
        (["--listen", "192.0.2.1:0"], "can't listen on 192.0.2.1:0: "),
        (["--listen", "unix:/no/such/place"], "can't listen on unix:/no/such/place: No such file"),
        (["--tls-cert", "none.pem"], "a certificate and its key belong together"),
        (["--tls-cert", "none", "--tls-key", "none"], "can't read none: No such file"),
        (["--htpasswd", "/dev/null"], "/dev/null has no users"),
    ],
)
def test_wrong_arguments(
    sample_spec: SampleSpec, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run_text("serve", "-q", sample_spec(tmp_path), *arguments, env=settings(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
