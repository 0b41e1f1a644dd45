"""`nixdock copy` of a spec, whose image is built where it is to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ..registry.fake_registry import fake_registry
from .program import run_text

SampleSpec = Callable[..., Path]


def printed(*arguments: object) -> str:
    done = run_text(*arguments, "-q")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_layers_are_compressed_as_they_are_built(
    sample_spec: SampleSpec, tmp_path: Path, compression: str
) -> None:
    spec, option = sample_spec(tmp_path), ("--compression", compression)
    built = printed("build", spec, "-o", tmp_path / "built", "--format", "oci-layout", *option)
    assert built != printed("copy", spec, tmp_path / "default")
    assert built == printed("copy", spec, f"oci:{tmp_path}/layout:v1", *option)
    assert built == printed("copy", spec, tmp_path / "archive", *option)
    with fake_registry() as registry:
        pushed = printed("copy", spec, f"docker://{registry.host}/x:v1", *option)
    assert pushed.endswith(f"/x@{built}")


def test_a_docker_archive_is_not_compressed(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path)
    printed("copy", spec, f"docker-archive:{tmp_path}/plain")
    printed("copy", spec, f"docker-archive:{tmp_path}/image", "--compression", "zstd:chunked")
    assert (tmp_path / "image").read_bytes() == (tmp_path / "plain").read_bytes()


def test_an_image_that_exists_stays_as_it_is(sample_spec: SampleSpec, tmp_path: Path) -> None:
    printed("build", sample_spec(tmp_path), "-o", tmp_path / "image")
    done = run_text("copy", tmp_path / "image", f"oci:{tmp_path}/x", "--compression", "zstd")
    assert done.returncode == 2
    assert "an image that exists stays as it is: --compression is for a spec" in done.stderr
