"""`nixdock browse` in a real terminal: what a person sees, and what is left in the end."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ..cli.program import environment, run_text
from .terminal import CTRL_C, DOWN, ENTER, LEFT, TAB, Terminal, terminal

COLOUR = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")


@pytest.fixture
def images(tmp_path: Path, sample_image: Callable[..., Path]) -> tuple[Path, Path]:
    """An image, and one whose own files are others; both are read-only."""
    made = []
    for name in ("old", "new"):
        commands = f"echo {name} > note; mkdir {name}"
        image = sample_image(tmp_path / f"{name}.tar", extra_commands=commands)
        image.chmod(0o444)
        made.append(image)
    return made[0], made[1]


@contextmanager
def browsing(
    *arguments: object, columns: int = 120, lines: int = 30, no_color: str | None = None
) -> Iterator[Terminal]:
    command = [sys.executable, "-m", "nixdock", "browse", *map(str, arguments)]
    env = environment()
    env.pop("NO_COLOR", None)
    if no_color is not None:
        env["NO_COLOR"] = no_color
    with terminal(command, env, columns=columns, lines=lines) as shown:
        shown.wait("? help")
        yield shown


@pytest.mark.parametrize("columns", [60, 120])
def test_a_look_around(images: tuple[Path, Path], columns: int) -> None:
    with browsing(images[0], columns=columns) as shown:
        assert shown.lines[0] == "x/y:v1  linux/amd64  " + shown.lines[0].partition("64  ")[2]
        shown.wait(lambda: shown.text.count("script") == 1)
        assert all(len(line) <= columns for line in shown.screen.display)
        # At once, as fast typing or pasting does.
        shown.press(f"/libc{ENTER}")
        shown.wait("1 store path with libc")
        shown.press(ENTER)
        shown.wait("lib/")
        shown.press(ENTER)
        shown.wait("libc.so.6")
        assert "share" not in shown.text
        shown.press(LEFT, LEFT, LEFT, "?")
        shown.wait("The keys are those of ncdu and nix-tree.")
        shown.press("q")
        shown.wait("? help")
        shown.press("q")
        assert shown.end() == 0
        assert shown.is_sane
        assert shown.text.strip() == ""


def test_two_images_and_a_terminal_that_changes_its_size(images: tuple[Path, Path]) -> None:
    with browsing(*images) as shown:
        shown.wait(lambda: "new  x/y:v1" in shown.text and "own files" in shown.text)
        assert "an update moves" in shown.text
        (head,) = [line for line in shown.lines if "old  x/y:v1" in line]
        assert "new  x/y:v1" in head
        (own,) = [line for line in shown.lines if line.endswith("own files")]
        assert re.match(r"-.*own files +\+.*own files$", own)
        shown.resize(60, 20)
        shown.wait(lambda: "old  x/y" not in shown.text and "new  x/y" in shown.text)
        assert all(len(line) <= 60 for line in shown.lines)
        shown.press(TAB)
        shown.wait("old  x/y:v1")
        shown.resize(30, 6)
        shown.wait(lambda: shown.lines[-1].endswith("q quit"))
        shown.resize(140, 40)
        shown.wait("new  x/y:v1")
        assert "old  x/y:v1" in shown.text
        shown.press("q")
        assert (shown.end(), shown.is_sane) == (0, True)


def test_a_spec_tells_why(tmp_path: Path, sample_spec: Callable[..., Path]) -> None:
    with browsing(sample_spec(tmp_path)) as shown:
        shown.press("p")
        shown.wait("all 4 store paths")
        shown.press("/", "libc", ENTER, "w")
        shown.wait("Why libc is in the image:")
        assert re.search(r"app \(app\)  dddddd.*\n.*└ libc  aaaaaa", shown.text)
        shown.press("q")
        shown.wait("1 store path with libc")
        shown.press(LEFT, LEFT, "G", ENTER)
        shown.wait("tmp/")
        shown.press("q")
        assert (shown.end(), shown.is_sane) == (0, True)


def test_a_graph_has_no_files(tmp_path: Path, sample_spec: Callable[..., Path]) -> None:
    sample_spec(tmp_path)
    with browsing(tmp_path / "graph.json") as shown:
        shown.press(ENTER, ENTER)
        shown.wait("error: a plan has no files, only store paths")
        shown.press("q")
        assert (shown.end(), shown.is_sane) == (0, True)


def test_colours_are_those_of_the_terminal_or_none(images: tuple[Path, Path]) -> None:
    found = []
    for no_color in ("", "1"):
        with browsing(*images, no_color=no_color) as shown:
            shown.press(DOWN, DOWN, "?")
            shown.wait("The keys are")
            shown.press("q")
            shown.wait("? help")
            shown.press("q")
            assert shown.end() == 0
            found.append(set(COLOUR.findall(bytes(shown.raw))))
    coloured, plain = found
    assert plain == set()
    assert coloured
    # No RGB: what the terminal calls yellow is what its owner has chosen.
    assert [each for each in coloured if b"8;2;" in each] == []


@pytest.mark.parametrize(
    ("number", "status", "last"),
    [
        (None, 130, "error: interrupted"),
        (signal.SIGTERM, 143, "error: terminated"),
        (signal.SIGHUP, 129, "error: terminated"),
    ],
)
def test_the_terminal_is_sane_afterwards(
    images: tuple[Path, Path], number: signal.Signals | None, status: int, last: str
) -> None:
    with browsing(images[0]) as shown:
        if number is None:
            shown.press(CTRL_C)
        else:
            shown.process.send_signal(number)
        assert shown.end() == status
        assert shown.is_sane
        assert shown.text.strip() == last


def test_an_image_that_is_damaged(images: tuple[Path, Path], tmp_path: Path) -> None:
    data = images[0].read_bytes()
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(data[: len(data) // 2])
    command = [sys.executable, "-m", "nixdock", "browse", str(damaged)]
    with terminal(command, environment()) as shown:
        assert shown.end() == 1
        assert "error: " in shown.text
        assert shown.is_sane


def test_without_a_terminal(images: tuple[Path, Path]) -> None:
    done = run_text("browse", images[0])
    assert done.returncode == 2
    assert "error: standard input is no terminal; `nixdock inspect` prints text" in done.stderr
    command = [sys.executable, "-m", "nixdock", "browse", str(images[0])]
    with terminal(command, {**environment(), "TERM": "dumb"}) as shown:
        assert shown.end() == 2
        assert "error: the terminal is dumb" in shown.text


def test_without_textual(images: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "textual.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'textual'\", name='textual')"
    )
    command = [sys.executable, "-m", "nixdock", "browse", str(images[0])]
    root = str(Path(__file__).parents[3])
    env = environment(PYTHONPATH=f"{tmp_path}:{root}")
    with terminal(command, env, columns=200) as shown:
        assert shown.end() == 1
        assert "In a clone of nixdock, pip install '.[browse]'" in shown.text
        # Nobody owns this name in the Python package index.
        assert "nixdock[browse]" not in shown.text
