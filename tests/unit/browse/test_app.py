"""The browser itself, with Textual's pilot: where keys lead, and what is on the screen then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from nixdock.browse.app import Browser
from nixdock.browse.listing import Listing
from nixdock.browse.panels import Panel
from nixdock.browse.side import Side
from nixdock.view.model import FileView, ImageView, LayerView, PathView, Status

from .views import APP, FILES, LIBC, read_files, side, store_path, view

Use = Callable[[Pilot[None]], Awaitable[None]]


def browse(use: Use, *sides: Side, size: tuple[int, int] = (120, 30), sentence: str = "") -> None:
    """Run the browser of these images, and let `use` press keys."""

    async def run() -> None:
        async with Browser(sides or [side()], sentence).run_test(size=size) as pilot:
            await pilot.pause()
            await use(pilot)

    asyncio.run(run())


def screen(pilot: Pilot[None]) -> list[str]:
    """Return the lines of the screen."""
    update = pilot.app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip).rstrip() for strip in update]


def listing(pilot: Pilot[None], number: int = 0) -> Listing:
    found: Listing = [*pilot.app.query(Listing)][number]
    return found


def names(pilot: Pilot[None], number: int = 0) -> list[str]:
    return [row.name for row in listing(pilot, number).level.rows]


async def files_are_there(pilot: Pilot[None]) -> None:
    """Wait for the thread that reads a layer."""
    for _ in range(2000):
        if listing(pilot).level.of is not None:
            return
        await pilot.pause(0.005)
    pytest.fail("\n".join(screen(pilot)))


def test_from_layers_to_files_and_back() -> None:
    async def use(pilot: Pilot[None]) -> None:
        assert screen(pilot)[0] == "app:1.0  linux/amd64  800 B  3 layers"
        assert names(pilot) == ["libc-2", "app-1.0 (app)", "the image's own files"]
        await pilot.press("enter")
        assert names(pilot) == ["libc-2", "tls-3.0"]
        await pilot.press("l")
        await files_are_there(pilot)
        assert names(pilot) == ["lib/", "share/"]
        await pilot.press("right")
        assert names(pilot) == ["libc.so", "libc.so.6"]
        await pilot.press("j")
        text = "\n".join(screen(pilot))
        assert f"{LIBC}/lib/libc.so.6\nsymbolic link, mode 0000\nto libc.so" in text
        for _ in range(3):
            await pilot.press("left")
        assert names(pilot)[0] == "libc-2"
        await pilot.press("h")
        assert "These are the layers; q quits." in "\n".join(screen(pilot))
        await pilot.press("q")
        assert pilot.app.return_code == 0

    browse(use)


def test_layers_are_read_when_they_are_looked_at_and_once() -> None:
    read: list[int] = []

    def counting(number: int) -> Sequence[FileView]:
        read.append(number)
        return read_files(number)

    async def use(pilot: Pilot[None]) -> None:
        await pilot.press("i", "escape", "w", "escape", "p", "escape", "enter")
        assert read == []
        for _ in range(3):
            await pilot.press("enter")
            await files_are_there(pilot)
            await pilot.press("left")
        assert read == [1]

    browse(use, replace(side(), read_files=counting))


def test_a_layer_that_cant_be_read_is_told_of() -> None:
    def fail(number: int) -> Sequence[FileView]:
        return read_files(number + 100)

    async def use(pilot: Pilot[None]) -> None:
        await pilot.press("end", "enter")
        for _ in range(2000):
            if "error: layer 103 is damaged" in "\n".join(screen(pilot)):
                break
            await pilot.pause(0.005)
        else:
            pytest.fail("\n".join(screen(pilot)))
        assert names(pilot)[0] == "libc-2"

    browse(use, replace(side(), read_files=fail))


def test_who_goes_elsewhere_meanwhile_stays_there() -> None:
    go_on = threading.Event()

    def slow(number: int) -> Sequence[FileView]:
        go_on.wait(60)
        return FILES[number]

    async def use(pilot: Pilot[None]) -> None:
        await pilot.press("end", "enter")
        assert "reading layer 3 …" in "\n".join(screen(pilot))
        await pilot.press("home", "left", "p")
        go_on.set()
        for _ in range(2000):
            if 3 in listing(pilot).trees:
                break
            await pilot.pause(0.005)
        assert names(pilot) == ["libc-2", "tls-3.0", "app-1.0 (app)"]

    browse(use, replace(side(), read_files=slow))


def test_a_layer_is_read_once_while_people_wait_and_look_elsewhere() -> None:
    go_on = threading.Event()
    read: list[int] = []

    def slow(number: int) -> Sequence[FileView]:
        read.append(number)
        go_on.wait(60)
        return FILES[number]

    async def use(pilot: Pilot[None]) -> None:
        await pilot.press("enter", "enter", "left", "enter", "enter", "enter", "question_mark")
        go_on.set()
        await files_are_there(pilot)
        assert read == [1]
        await pilot.press("escape", "enter")
        assert names(pilot) == ["libc.so", "libc.so.6"]

    browse(use, replace(side(), read_files=slow))


def test_a_bug_is_told_of() -> None:
    def fail(number: int) -> Sequence[FileView]:
        raise ValueError("oops\x1b")

    async def use(pilot: Pilot[None]) -> None:
        await pilot.press("end", "enter")
        for _ in range(2000):
            if r"error: ValueError: oops\x1b" in "\n".join(screen(pilot)):
                return
            await pilot.pause(0.005)
        pytest.fail("\n".join(screen(pilot)))

    browse(use, replace(side(), read_files=fail))


def test_sorting() -> None:
    async def use(pilot: Pilot[None]) -> None:
        await pilot.press("p", "down")
        chosen = listing(pilot).row
        await pilot.press("n")
        assert names(pilot) == ["app-1.0 (app)", "libc-2", "tls-3.0"]
        assert listing(pilot).row == chosen
        await pilot.press("n")
        assert names(pilot) == ["tls-3.0", "libc-2", "app-1.0 (app)"]
        assert "name▲" in screen(pilot)[2]
        await pilot.press("a")
        assert names(pilot)[0] == "app-1.0 (app)"
        await pilot.press("o")
        assert names(pilot) == ["libc-2", "tls-3.0", "app-1.0 (app)"]
        # Other kinds of lists have an order of their own.
        await pilot.press("escape")
        assert "#▼" in screen(pilot)[2]

    browse(use)


def test_searching() -> None:
    async def use(pilot: Pilot[None]) -> None:
        await pilot.press("slash", "T", "l", "s")
        assert names(pilot) == ["tls-3.0"]
        await pilot.press("backspace", "backspace", "backspace")
        assert names(pilot)[0] == "libc-2"
        await pilot.press("q", "enter")
        assert names(pilot) == []
        assert screen(pilot)[3] == "nothing"
        await pilot.press("enter", "w", "i", "r", "u", "c", "down", "end")
        await pilot.press("escape", "slash", "x", "escape")
        assert names(pilot) == ["libc-2", "app-1.0 (app)", "the image's own files"]
        # Among files, it searches files.
        await pilot.press("enter", "enter")
        await files_are_there(pilot)
        await pilot.press("slash", *"read", "enter")
        assert names(pilot) == ["share/doc/readme"]
        await pilot.press("escape")
        assert names(pilot) == ["lib/", "share/"]

    browse(use)


def test_why_leads_there() -> None:
    async def use(pilot: Pilot[None]) -> None:
        await pilot.press("enter", "w")
        text = "\n".join(screen(pilot))
        assert "Why libc-2 is in the image:" in text
        assert "app-1.0 (app)" in text
        await pilot.press("enter")
        assert names(pilot) == ["app-1.0 (app)"]
        assert listing(pilot).row is not None
        await pilot.press("r")
        assert screen(pilot)[1] == "app-1.0 refers to 1 store path"
        await pilot.press("u")
        assert screen(pilot)[1] == "1 store path refers to tls-3.0"

    browse(use)


def test_help_tells_of_every_key() -> None:
    async def use(pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        assert isinstance(pilot.app.screen, Panel)
        text = "\n".join(screen(pilot))
        for key in ("why is it there", "/ ", "quit", "Tab", "other image"):
            assert key in text
        await pilot.press("escape")
        assert not isinstance(pilot.app.screen, Panel)

    browse(use, size=(100, 40))


def updated() -> tuple[Side, Side]:
    """An image, and one with another app: its layer is new, and the others are kept."""

    def marked(image: ImageView, letter: str, status: Status) -> ImageView:
        layers = []
        for layer in image.layers:
            its = status if layer.number == 2 else Status.KEPT
            paths = tuple(replace(path, status=its) for path in layer.paths)
            layers.append(replace(layer, status=its, other_layer=layer.number, paths=paths))
        return replace(image, layers=tuple(layers))

    old, new = marked(view(), "f", Status.GONE), marked(view(), "g", Status.NEW)
    path = PathView(
        store_path("app-2.0", "g"), 2, 31, 1081, 1081, (), True, Status.NEW, replaces=APP
    )
    app: LayerView = replace(new.layers[1], title="app-2.0", paths=(path,))
    new = replace(new, names=("app:2.0",), layers=(new.layers[0], app, new.layers[2]))
    return Side(old, read_files, "old"), Side(new, read_files, "new")


def test_two_images_side_by_side() -> None:
    async def use(pilot: Pilot[None]) -> None:
        lines = screen(pilot)
        assert lines[0] == "an update moves little"
        assert "old  app:1.0" in lines[1]
        assert "new  app:2.0" in lines[1]
        assert lines[5].startswith("-    2")
        assert "+    2" in lines[5]
        assert listing(pilot, 1).has_focus
        await pilot.press("down", "enter", "c")
        assert listing(pilot, 0).has_focus
        assert names(pilot, 0) == ["app-1.0 (app)"]
        await pilot.press("c")
        assert names(pilot, 1) == ["app-2.0 (app)"]
        await pilot.press("tab", "escape", "end", "c")
        assert listing(pilot, 1).has_focus
        row = listing(pilot, 1).row
        assert row is not None
        assert row.name == "the image's own files"

    browse(use, *updated(), sentence="an update moves little")


def test_two_images_where_one_fits() -> None:
    async def use(pilot: Pilot[None]) -> None:
        assert "app:2.0" in screen(pilot)[0]
        assert "app:1.0" not in "\n".join(screen(pilot))
        await pilot.press("tab")
        await pilot.pause()
        assert "app:1.0" in screen(pilot)[0]
        await pilot.resize_terminal(120, 20)
        await pilot.pause()
        assert "app:2.0" in screen(pilot)[0]

    browse(use, *updated(), size=(60, 20))


HOSTILE = [
    "[bold red]markup[/]",
    "[@click=app.quit]quit[/]",
    "\x1b[2J\x1b]0;title\x07",
    "\u202egnp.exe",
    "line\nbreak\rreturn\ttab",
    "\x9b31m\x00\x7f",
    "[/",
    "日本語" * 80,
    "e\u0301" * 300,
]


@pytest.mark.parametrize("width", [60, 120])
def test_names_do_nothing(width: int) -> None:
    """Neither as markup nor as sequences of the terminal nor by the direction of their letters."""
    files = [FileView(f"/{name}", "file", 1, target=name) for name in HOSTILE]
    files.append(FileView("/link", "symbolic link", target=HOSTILE[2]))
    layer = replace(view().layers[2], comment=HOSTILE[2], created_by=HOSTILE[0], title=HOSTILE[3])
    image = replace(
        view(), layers=(*view().layers[:2], layer), names=(HOSTILE[2],), origin=HOSTILE[2]
    )

    async def use(pilot: Pilot[None]) -> None:
        seen = []

        def look() -> None:
            seen.extend(screen(pilot))

        await pilot.press("end")
        look()
        await pilot.press("i")
        look()
        await pilot.press("escape", "enter")
        await files_are_there(pilot)
        for _ in files:
            look()
            await pilot.press("i")
            look()
            await pilot.press("escape", "down")
        await pilot.press("slash", "[", "b", "o", "l", "d")
        look()
        text = "\n".join(seen)
        assert all(line.isprintable() for line in seen)
        assert "[bold red]markup[" in text
        assert "[@click=app.quit]quit[" in text
        assert r"\x1b[2J" in text
        assert r"\u202egnp.exe" in text
        assert pilot.app.return_code is None

    browse(use, Side(image, lambda _: files), size=(width, 30))
