"""`nixdock serve`: what it prints, and how it ends."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import nixdock
from tests.unit.cli.program import PROGRAM, environment, run_text

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
    if status == 0:
        assert err.splitlines()[-1].startswith(f"served {len(built.layers) + 1} blobs, ")


@pytest.mark.parametrize("limit", ["--for", "--until-idle"])
def test_it_ends_by_itself(sample_spec: SampleSpec, tmp_path: Path, limit: str) -> None:
    spec = sample_spec(tmp_path)
    done = run_text("serve", "-q", spec, limit, "0.01", env=settings(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert [*(tmp_path / "tmp").iterdir()] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listen", "nowhere"], "'nowhere' is not an address: expected HOST:PORT"),
        (["--for", "0"], "0.0 is not in the range x>0"),
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
