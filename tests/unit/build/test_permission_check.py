"""Permission rules that match no file are errors."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nixdock.build.build import prepared_build, prepared_top_layer
from nixdock.errors import PackError, SpecError
from nixdock.rootfs.packed_layer import write_top_layer
from nixdock.spec.reading import read_spec
from nixdock.tar import permissions
from tests.unit.docker_archive import archive, layer

A, B = (f"/nix/store/{digit * 32}-{digit}" for digit in "01")

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a spec with rules, over two store paths in two layers."""
    for path in (A, B):
        Path(f"{tmp_path}{path}/bin").mkdir(parents=True)
        Path(f"{tmp_path}{path}/bin/su").write_text("su")
        Path(f"{tmp_path}{path}/link").symlink_to("bin")

    def write_spec(*perms: dict[str, Any], **changes: object) -> Path:
        spec = {
            "version": 1,
            "name": "x",
            "store": {"root": str(tmp_path)},
            "store_layers": [[A], [B]],
            "extra_commands": "mkdir build; touch build/file",
            "perms": list(perms),
            **changes,
        }
        file = tmp_path / "spec.json"
        file.write_text(json.dumps({k: v for k, v in spec.items() if v is not None}))
        return file

    return write_spec


def members(spec: Path) -> list[tarfile.TarInfo]:
    found: list[tarfile.TarInfo] = []
    with prepared_build(read_spec(spec)) as build:
        for each in build.layers:
            out = io.BytesIO()
            each.pack(out.write)
            with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
                found += tar
    return found


@pytest.mark.parametrize(
    "rule",
    [
        {"path": f"{B}/bin/su"},
        {"path": B},
        {"path": f"{B}/"},
        {"path": f"{B}/link"},
        {"path": "/nix"},
        {"path": "/nix/store"},
        {"path": "/"},
        {"path": "/build/file"},
        {"path": "/build", "regex": ".*"},
        {"path": "/nix/store", "regex": ".*-1/bin/.*"},
        {"regex": "/nix/store"},
        {"regex": ".*/su"},
        {"path": "/nope", "optional": True},
    ],
)
@pytest.mark.parametrize("single", [False, True])
def test_rules_that_match(write: Write, rule: dict[str, Any], *, single: bool) -> None:
    layers = [[A, B]] if single else [[A], [B]]
    members(write(rule, store_layers=layers, single_layer=single))


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ({"path": "/nope"}, "the path '/nope'"),
        ({"path": f"{A}/bin/bsh"}, f"the path '{A}/bin/bsh'"),
        ({"path": f"{A}/link/su"}, f"the path '{A}/link/su'"),
        ({"path": f"{A}0"}, f"the path '{A}0'"),
        ({"path": f"{A}/bin/../bin/su"}, "the path"),
        ({"path": "/usr"}, "the path '/usr'"),
        ({"regex": "su"}, "the regex 'su'"),
        ({"path": "/build", "regex": ".*/bin/su"}, "the path '/build' and the regex"),
    ],
)
def test_rules_that_match_nothing(write: Write, rule: dict[str, Any], what: str) -> None:
    spec = write({"path": "/build", "uid": 1}, {**rule, "mode": "4755"})
    with pytest.raises(SpecError) as caught, prepared_build(read_spec(spec)):
        pass
    assert str(caught.value).startswith(f"perms[1]: no file of the image matches {what}")
    assert str(caught.value).endswith("; correct the rule, or set optional")
    assert caught.value.key == "perms[1]"


def test_a_packed_top_layer_counts(write: Write, tmp_path: Path) -> None:
    rules = {"path": "/build/file", "uid": 7}, {"path": A, "uid": 8}
    with prepared_top_layer(read_spec(write(*rules))) as top:
        write_top_layer(top, tmp_path / "top")
    packed = {"extra_commands": None, "top_layer": "top"}
    found = members(write(*rules, **packed))
    assert {member.uid for member in found} == {0, 7, 8}
    with pytest.raises(SpecError, match=r"^perms\[0\]: "):
        members(write({"path": "/build/other"}, **packed))


def test_the_error_names_the_base_image(write: Write, tmp_path: Path) -> None:
    archive(tmp_path / "base.tar", [layer(("etc/passwd", "root"))])
    spec = write({"path": "/etc/passwd", "uid": 1}, from_image={"path": "base.tar"})
    with pytest.raises(
        SpecError, match=r"^perms\[0\]: only files of the base image match the path"
    ):
        members(spec)


def test_the_store_directory_in_every_layer(write: Write) -> None:
    found = members(write({"path": "/nix/store", "mode": "1777", "gid": 30}))
    stores = [member for member in found if member.name == "/nix/store"]
    assert [(member.mode, member.gid) for member in stores] == [(0o1777, 30)] * 2


def test_the_store_directory_in_the_layer_above_alone(write: Write) -> None:
    script = "mkdir -p nix/store"
    rule = {"path": "/nix/store", "uid": 30}
    found = members(write(rule, extra_commands=script))
    stores = [member.uid for member in found if member.name == "/nix/store"]
    assert stores == [0, 0, 30], "other images can share the layers of the store paths"


def test_the_files_of_the_database(write: Write) -> None:
    infos = {path: {"references": [], "nar_hash": f"sha256-{'A' * 43}="} for path in (A, B)}
    rule = {"path": "/nix/var/nix/db", "regex": ".*", "uid": 1000}
    found = members(write(rule, nix_db=True, store_paths=infos, extra_commands=None))
    assert {member.uid for member in found if member.name.startswith("/nix/var/nix/db")} == {1000}


def test_a_regex_that_takes_too_long(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "_MOST_SECONDS", 0.1)
    script = f"touch {'a' * 60}b"
    spec = write({"regex": "/(a+)+", "uid": 1}, store_layers=[], extra_commands=script)
    with pytest.raises(
        PackError, match=r"^perms: comparing /a+b with the regex '/\(a\+\)\+' takes"
    ):
        members(spec)
