"""`nixdock inspect`: for people, and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from nixdock.cli import main
from nixdock.cli.output import size_text
from nixdock.layers.compression import Compression
from nixdock.oci.layout import Format
from tests.unit.cli.program import run_text
from tests.unit.forms import FORMS

Build = Callable[..., Path]


@pytest.fixture
def build(tmp_path: Path, sample_image: Callable[..., Path]) -> Build:
    config = {
        "Cmd": ["/bin/app", "two words"],
        "Env": ["A=b", "C=d\x1b[31m"],
        "ExposedPorts": {"80/tcp": {}},
        "Labels": {"key": "value"},
        "WorkingDir": "/tmp",
    }

    def run(form: Format, compression: Compression = Compression.NONE) -> Path:
        target = tmp_path / f"{form}-{compression}"
        return sample_image(target, form.value, str(compression), config=config)

    return run


def inspected(*args: str | Path) -> str:
    result = CliRunner().invoke(main, ["inspect", *map(str, args)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_values_of_a_health_check_are_shown(
    tmp_path: Path, sample_image: Callable[..., Path]
) -> None:
    check = {"Test": ["CMD", "/bin/ok"], "Interval": 30_000_000_000}
    config = {"Healthcheck": check, "Volumes": {"/data": {}}}
    output = inspected(sample_image(tmp_path / "image", "archive", "none", config=config))
    assert "healthcheck  Interval=30000000000\n" in output
    assert '             Test=["CMD", "/bin/ok"]\n' in output
    assert "volumes      /data\n" in output


def test_for_people(build: Build) -> None:
    path = build(Format.ARCHIVE)
    report = json.loads(inspected(path, "--json"))["images"][0]
    digests = [layer["digest"][7:19] for layer in report["layers"]]
    size = size_text(report["view"]["size"])
    assert (
        inspected(path)
        == f"""\
image        x/y:v1 (linux/amd64), as archive
manifest     {report["digest"]}
             org.opencontainers.image.title=y
             org.opencontainers.image.version=v1
config       {report["config_digest"]}
created      1970-01-01T00:00:01Z
size         {size} in 5 layers
cmd          ["/bin/app", "two words"]
env          A=b
             C=d\\x1b[31m
workingdir   /tmp
exposedports 80/tcp
labels       key=value

layer  what                   hash       size                            paths  changes with  digest
    1  libc                   aaaaaa  20.5 kB  ████████████████████████      1  itself        {digests[0]}
    2  link                   cccccc  10.2 kB  ████████████                  1  2 of 4 paths  {digests[1]}
    3  script                 bbbbbb  10.2 kB  ████████████                  1  itself        {digests[2]}
    4  app (app)              dddddd  10.2 kB  ████████████                  1  the app       {digests[3]}
    5  the image's own files          10.2 kB  ████████████                                   {digests[4]}
"""  # noqa: E501
    )


@pytest.mark.parametrize(("form", "compression"), FORMS)
def test_json(build: Build, form: Format, compression: Compression) -> None:
    document = json.loads(inspected(build(form, compression), "--json"))
    assert document.keys() == {"format", "images"}
    assert document["format"] == form
    (image,) = document["images"]
    assert image.keys() == {
        "tags", "digest", "config_digest", "architecture", "os", "variant", "created", "config",
        "annotations", "index", "layers", "script_paths", "view",
    }  # fmt: skip
    assert image["tags"] == ["x/y:v1"]
    assert image["config"]["Cmd"] == ["/bin/app", "two words"]
    for layer in image["layers"]:
        assert layer.keys() == {
            "digest", "diff_id", "size", "media_type", "created_by", "comment", "store_paths",
        }  # fmt: skip
    found = [path for layer in image["layers"] for path in layer["store_paths"]]
    assert found == [
        f"/nix/store/{letter * 32}-{name}"
        for letter, name in (("a", "libc"), ("c", "link"), ("b", "script"), ("d", "app"))
    ]


def test_a_quick_look(build: Build) -> None:
    path = build(Format.DOCKER_ARCHIVE)
    quick = inspected(path, "--quick")
    assert "  1 store path: libc  " in quick
    (image,) = json.loads(inspected(path, "--quick", "--json"))["images"]
    (full,) = json.loads(inspected(path, "--json"))["images"]
    for layer in full["layers"]:
        layer["store_paths"] = None
    # Without the layers, the view has neither store paths nor their sizes.
    assert image.pop("view").keys() == full.pop("view").keys()
    assert image == full


def test_a_damaged_layer(build: Build) -> None:
    path = build(Format.ARCHIVE)
    path.write_bytes(path.read_bytes().replace(b"the same", b"The same"))
    done = run_text("inspect", path)
    assert (done.returncode, done.stdout) == (1, "")
    start = re.escape(f"error: {path}: ")
    assert re.match(f"{start}layer 1 of manifest sha256:.* is damaged: its digest", done.stderr)


def test_no_image(tmp_path: Path) -> None:
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (tmp_path / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')
    assert inspected(tmp_path) == "no image, as oci-layout\n"
