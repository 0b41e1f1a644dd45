"""Views to draw: a plan, an update, an image of many store paths, and one with hostile names."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from nixdock import Closure, diff_images, plan_layers
from nixdock.face.viewing import view_diff, view_plan
from nixdock.view.model import ImageView, LayerKind, LayerView, PathView
from nixdock.view.update import UpdateView
from tests.unit.closures import Nodes, closure_of

# libc is popular, the database is used in two ways, and the data has no reference.
SERVICE: Final[Nodes] = {
    "libc-2.36": (12_859_768, ()),
    "openssl-3.0.14": (6_146_840, ("libc-2.36",)),
    "zlib-1.2.13": (163_008, ("libc-2.36",)),
    "sqlite-3.40.1": (1_687_112, ("libc-2.36", "zlib-1.2.13")),
    "python-3.11.2": (18_771_120, ("libc-2.36", "openssl-3.0.14", "sqlite-3.40.1")),
    "zone-data-2024a": (400_000, ()),
    "service-1.9": (250_000, ("python-3.11.2", "sqlite-3.40.1", "zone-data-2024a")),
}
MARKUP: Final = "</script></style><img src=x onerror='alert(1)'>\"><b>"
OVERRIDE: Final = "invoice\u202egnp.exe"
HEBREW: Final = "\u05d0\u05d1\u05d2 (1)"
CONTROLS: Final = "a\x1b[31m\x00\r\nb\x7f"
HOSTILE: Final = (MARKUP, OVERRIDE, HEBREW, CONTROLS)


def plan_view(nodes: Nodes = SERVICE) -> ImageView:
    closure = closure_of(nodes)
    return view_plan(closure, plan_layers(closure), origin="service.json")


def update_view(directory: Path) -> UpdateView:
    """Return the view of an update of the service, and of openssl, which the service needs.

    There are so few layers that store paths move which do not change.
    """
    renamed = {"service-1.9": "service-2.0", "openssl-3.0.14": "openssl-3.0.15"}
    newer = {
        renamed.get(name, name): (size + 1000, tuple(renamed.get(r, r) for r in references))
        for name, (size, references) in SERVICE.items()
    }
    newer["curl-8.1"] = (900_000, ("openssl-3.0.15",))
    size, references = newer["service-2.0"]
    newer["service-2.0"] = (size, (*references, "curl-8.1"))
    old = _graph(directory / "old.json", closure_of(SERVICE))
    # What refers to openssl has another hash, as it would have in a store.
    new = _graph(directory / "new.json", closure_of(newer))
    return view_diff(diff_images(old, new, max_layers=4))


def many_paths(count: int) -> ImageView:
    """Return the plan of a closure with `count` store paths, like those of large images."""
    draw = random.Random(count)
    names = [
        f"package-{number}-{draw.randrange(20)}.{draw.randrange(9)}" for number in range(count)
    ]
    nodes = {
        name: (
            int(draw.lognormvariate(12, 2)),
            sorted({names[int(number * draw.random() ** 2)] for _ in range(min(number, 6))}),
        )
        for number, name in enumerate(names)
    }
    return plan_view(nodes)


def hostile_view() -> ImageView:
    """Return the view of an image whose maker wants to take over the page."""
    paths = [f"/nix/store/{'abcd'[number] * 32}-{name}" for number, name in enumerate(HOSTILE)]
    layers = [
        LayerView(
            number=number,
            kind=LayerKind.STORE,
            title=name,
            size=1000 * number,
            nar_size=1000 * number,
            digest=f"sha256:{name}",
            created_by=name,
            comment=name,
            paths=(PathView(path, number, 1000 * number, 1000, 1000, tuple(paths[number:])),),
            changed_by=1,
        )
        for number, (name, path) in enumerate(zip(HOSTILE, paths, strict=True), 1)
    ]
    layers += _others(HOSTILE, len(layers))
    plan = plan_view()
    return replace(
        plan,
        origin=MARKUP,
        names=HOSTILE,
        platform=MARKUP,
        created=MARKUP,
        digest=MARKUP,
        config_digest=OVERRIDE,
        command=HOSTILE,
        user=MARKUP,
        layers=tuple(layers),
        app=(paths[0],),
    )


def _others(titles: Iterable[str], below: int) -> list[LayerView]:
    return [
        LayerView(number=number, kind=LayerKind.OTHER, title=title, size=500)
        for number, title in enumerate(titles, below + 1)
    ]


def _graph(file: Path, closure: Closure) -> Path:
    entries = [
        {"path": info.path, "narSize": info.nar_size, "references": list(info.references)}
        for info in closure
    ]
    file.write_text(json.dumps(entries))
    return file
