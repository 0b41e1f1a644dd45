"""Layers are shared where paths are, and bytes don't depend on where and when they are packed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]


def _layers(layout: Path) -> list[str]:
    index = json.loads((layout / "index.json").read_text())
    manifest = _blob(layout, index["manifests"][0]["digest"])
    return [layer["digest"] for layer in manifest["layers"]]


def _blob(layout: Path, digest: str) -> dict[str, list[dict[str, str]]]:
    content: dict[str, list[dict[str, str]]] = json.loads(
        (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_text()
    )
    return content


def test_images_share_the_layers_of_shared_packages(library: Library) -> None:
    expression = """nixdock.buildLayeredImage {
      name = "%s"; format = "oci-layout"; config.Cmd = [ "${pkgs.%s}/bin/%s" ]; }"""
    hello = _layers(library.build(expression % ("one", "hello", "hello")))
    bash = _layers(library.build(expression % ("two", "bash", "bash")))
    # The C library, which is under both.
    assert hello[0] == bash[0]
    assert hello[1] != bash[1]


def test_a_new_app_changes_its_own_layer_and_the_top_one(library: Library) -> None:
    """With an app that stays least popular, the plan is constant: the lower layers all stay."""
    expression = """let
        app = pkgs.writeShellScriptBin "app" "echo %s; exec ${pkgs.hello}/bin/hello";
      in nixdock.buildLayeredImage { name = "app"; tag = "t"; format = "oci-layout";
        contents = [ app ]; config.Cmd = [ "/bin/app" ]; }"""
    before = _layers(library.build(expression % "one"))
    after = _layers(library.build(expression % "two"))
    assert len(before) == len(after)
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert changed == [len(before) - 2, len(before) - 1]


@pytest.mark.usefixtures("plain_environment")
def test_bytes_are_those_of_any_store(library: Library, tmp_path: Path) -> None:
    """A copy of the closure, hard-linked by --optimise, in a chroot store, gives the same image."""
    conf = library.build(
        """(nixdock.streamLayeredImage { name = "x"; tag = "t"; maxLayers = 5;
             contents = [ pkgs.python3 pkgs.coreutils ]; }).conf"""
    )
    spec = json.loads(conf.read_text())
    paths = [path for layer in spec["store_layers"] for path in layer]
    store = tmp_path / "store"
    library.nix.nix("copy", "--no-check-sigs", "--to", f"local?root={store}", *paths)
    linked = library.nix.run("nix-store", "--store", f"local?root={store}", "--optimise")
    assert linked is not None
    links = [p for p in (store / "nix/store").rglob("*") if p.is_file() and p.stat().st_nlink > 2]
    assert links, "--optimise linked nothing"

    spec["store"]["root"] = str(store)
    moved = tmp_path / "moved.json"
    moved.write_text(json.dumps(spec))
    assert _digest(
        moved, tmp_path / "b", {"TZ": "Asia/Tokyo", "LC_ALL": "C", "NIX_BUILD_CORES": "1"}, 0o077
    ) == _digest(conf, tmp_path / "a", {"PYTHONHASHSEED": "7", "NIX_BUILD_CORES": "3"}, 0o022)


def _digest(spec: Path, target: Path, env: dict[str, str], umask: int) -> tuple[str, bytes]:
    command = [sys.executable, "-m", "nixdock", "build", str(spec), "-o", str(target), "--quiet"]
    done = subprocess.run(
        command, env={**os.environ, **env}, umask=umask, capture_output=True, text=True, check=True
    )
    return done.stdout, target.read_bytes()
