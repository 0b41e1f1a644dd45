"""Commands that take an image choose among its platforms by --platform, all in the same way."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nixdock import build_image, read_spec
from nixdock.cli import main
from nixdock.errors import NixdockError
from tests.unit.several_platforms import with_platforms

SampleSpec = Callable[..., Path]


def nixdock(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of the images' store paths."""
    return tmp_path_factory.mktemp("images") / "graph.json"


@pytest.fixture(scope="module")
def several(sample_spec: SampleSpec, graph: Path) -> Path:
    """A layout with two images: the one for arm64 has all store paths in a single layer."""
    images = []
    for architecture, most in (("amd64", 5), ("arm64", 2)):
        spec = sample_spec(
            graph.parent, architecture=architecture, max_layers=most, nix_db=architecture == "amd64"
        )
        images.append(graph.parent / architecture)
        build_image(read_spec(spec), images[-1], form="oci-layout")
    return with_platforms(images, graph.parent / "several")[0]


@pytest.mark.parametrize(
    ("options", "count"),
    [((), 3), (("--platform", "linux/amd64"), 3), (("--platform", "linux/arm64/v8"), 1)],
)
def test_the_previous_plan(
    several: Path, graph: Path, options: tuple[str, ...], count: int
) -> None:
    done = nixdock("plan", graph, "--previous", several, *options, "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["layers"]) == count


@pytest.mark.parametrize(("options", "registered"), [((), 4), (("--platform", "linux/arm64"), 0)])
def test_the_base_of_a_database(
    several: Path, tmp_path: Path, options: tuple[str, ...], registered: int
) -> None:
    """The image for arm64 has no database, so its store paths can't be registered."""
    (tmp_path / "empty.json").write_text("[]")
    target = tmp_path / "out"
    done = nixdock("db", tmp_path / "empty.json", "-o", target, "--base", several, *options)
    assert done.exit_code == 0, done.output
    with closing(sqlite3.connect(target / "nix/var/nix/db/db.sqlite")) as database:
        assert database.execute("select count(*) from ValidPaths").fetchone() == (registered,)


COMMANDS = {
    "plan": ("plan", "GRAPH", "--previous", "IMAGE"),
    "db": ("db", "GRAPH", "-o", "OUT", "--base", "IMAGE"),
    "diff": ("diff", "IMAGE", "IMAGE"),
    "export": ("export", "IMAGE", "-o", "OUT"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("platform", "message"),
    [
        ("linux/s390x", "IMAGE has no image for linux/s390x; it has images for linux/amd64, "),
        ("linux/arm64/v9", "IMAGE has no image for linux/arm64/v9"),
        ("amd64", "'amd64' is not a platform: expected OS/ARCHITECTURE or"),
    ],
)
def test_a_platform_that_is_not_there(
    several: Path, graph: Path, tmp_path: Path, command: str, platform: str, message: str
) -> None:
    files = {
        "GRAPH": str(graph),
        "IMAGE": str(several),
        "OUT": str(tmp_path / "out"),
    }
    words = [files.get(word, word) for word in COMMANDS[command]]
    with pytest.raises(NixdockError, match=message.replace("IMAGE", str(several))) as caught:
        main.main([*words, "--platform", platform], standalone_mode=False)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("plan", "GRAPH"), "--platform is for --previous"),
        (("db", "GRAPH", "-o", "out"), "--platform is for --base"),
    ],
)
def test_a_platform_without_an_image(words: tuple[str, ...], message: str) -> None:
    done = nixdock(*words, "--platform", "linux/arm64")
    assert done.exit_code == 2
    assert message in done.output
