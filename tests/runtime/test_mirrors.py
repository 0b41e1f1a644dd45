"""registries.conf means to nixdock what it means to skopeo."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from nixdock.cli import main

from .oci_tools import Skopeo
from .registry import Registry, local_registry

pytestmark = pytest.mark.runtime

Write = Callable[..., Path]


REGISTRY = '[[registry]]\nlocation = "HOST"\n'
MIRROR = '[[registry.mirror]]\nlocation = "{}"\n'
TABLES = {
    "team/NAME": REGISTRY + MIRROR.format("MIRROR"),
    "cache/team/NAME": REGISTRY + MIRROR.format("MIRROR/cache"),
    "moved/NAME": '[[registry]]\nprefix = "HOST/team"\nlocation = "MIRROR/moved"\n',
    # One mirror is away, and another is not for tags.
    "last/team/NAME": REGISTRY
    + MIRROR.format("127.0.0.1:9")
    + MIRROR.format("MIRROR")
    + 'pull-from-mirror = "digest-only"\n'
    + MIRROR.format("MIRROR/last"),
}


@pytest.fixture
def mirror() -> Iterator[Registry]:
    with local_registry() as registry:
        yield registry


@pytest.fixture
def layout(tmp_path: Path, sample_spec: Write) -> Path:
    layout = tmp_path / "layout"
    spec = sample_spec(tmp_path, layering={"strategy": "stable"})
    run("build", str(spec), "-q", "--format", "oci-layout", "-o", str(layout))
    return layout


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("asked", TABLES)
def test_both_read_an_image_from_the_same_place(
    asked: str,
    layout: Path,
    skopeo: Skopeo,
    registry: Registry,
    mirror: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configuration = layout.with_name("registries.conf")
    text = TABLES[asked].replace("HOST", registry.address).replace("MIRROR", mirror.address)
    configuration.write_text(text)
    unique = uuid.uuid4().hex
    place = asked.replace("NAME", unique)
    skopeo.copy(f"oci:{layout}", f"docker://{mirror.reference(place, 'v1')}")
    location = f"docker://{registry.reference(f'team/{unique}', 'v1')}"
    theirs = skopeo.digest(location, f"--registries-conf={configuration}")
    before = len(mirror.downloads(place))
    assert before
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(configuration))
    pulled = layout.with_name("pulled")
    run("pull", "-q", location, "-o", str(pulled), "--format", "oci-layout")
    (ours,) = json.loads((pulled / "index.json").read_bytes())["manifests"]
    assert ours["digest"] == theirs
    assert len(mirror.downloads(place)) > before
    assert not registry.downloads(unique)
