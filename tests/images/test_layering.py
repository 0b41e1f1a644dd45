"""Layerings in the Nix library: strategies, pipelines, memory of the last image, families."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from nixdock.read.opening import open_image

from ..nix.harness import NixError
from .conftest import LIBRARY, Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]

PRODUCT = """
  name = "product"; tag = "t"; contents = [ pkgs.bash pkgs.coreutils ]; maxLayers = 6;
  config.Cmd = [ "${pkgs.writeShellScript "app" "echo %s"}" ];
"""


def layers_of(library: Library, arguments: str, version: str = "1") -> list[list[str]]:
    """The store layers, as the names of their paths."""
    conf = library.build(f"(nixdock.streamLayeredImage {{ {PRODUCT % version} {arguments} }}).conf")
    spec: dict[str, Any] = json.loads(conf.read_text())
    return [[path.partition("-")[2] for path in layer] for layer in spec["store_layers"]]


def test_strategies_differ(library: Library) -> None:
    stable = layers_of(library, "")
    assert stable == layers_of(library, 'layering.strategy = "stable";')
    assert "app" in stable[-1], "what changes most lies on top"
    popularity = layers_of(library, 'layering.strategy = "popularity";')
    assert popularity[0][0].startswith("libc6")
    assert popularity != stable
    assert sorted(chain.from_iterable(popularity)) == sorted(chain.from_iterable(stable))


def test_groups_are_layers(library: Library) -> None:
    layers = layers_of(
        library,
        'layering = { strategy = "explicit"; groups = [ { closureOf = [ pkgs.coreutils ]; }'
        " [ pkgs.bash ] ]; };",
    )
    assert any(name.startswith("coreutils") for name in layers[0])
    assert any(name.startswith("libc6") for name in layers[0])
    assert [name.partition("-")[0] for name in layers[1]] == ["bash"]


def test_a_group_may_be_one_path(library: Library) -> None:
    """Whatever attributes it has; those of no path are the keys of a group."""

    def conf(groups: str) -> Path:
        layering = f'{{ strategy = "explicit"; groups = {groups}; }}'
        return library.instantiated(
            f'(nixdock.streamLayeredImage {{ name = "x"; layering = {layering}; }}).conf'
        )

    named = "(pkgs.hello // { paths = [ pkgs.bash ]; })"
    expected = conf("[ [ pkgs.hello ] [ pkgs.bash ] { closureOf = [ pkgs.jq ]; } ]")
    assert conf(f'[ {named} "${{pkgs.bash}}" {{ closure_of = pkgs.jq; }} ]') == expected
    assert conf("pkgs.hello") == conf("[ [ pkgs.hello ] ]")
    assert conf("{ paths = pkgs.hello; }") == conf("[ { paths = [ pkgs.hello ]; } ]")
    with pytest.raises(NixError, match=r"image x: layering.groups: a group has no closure, but"):
        conf("[ { closure = [ pkgs.hello ]; } ]")


def test_pipelines_from_lists_and_files(library: Library) -> None:
    pipeline = '[ ["popularity_contest"] ["limit_layers" 3] ]'
    layers = layers_of(library, f"layeringPipeline = {pipeline};")
    assert len(layers) == 3
    file = f'pkgs.writeText "pipeline.json" (builtins.toJSON {pipeline})'
    assert layers_of(library, f"layeringPipeline = {file};") == layers


def test_a_pipeline_leaves_other_options_as_they_are(library: Library) -> None:
    """Those that contradict it are errors of nixdock."""

    def layering(more: str) -> Any:
        image = f'nixdock.streamLayeredImage {{ name = "x"; layeringPipeline = [ ]; {more} }}'
        return library.evaluate(f"({image}).remote.layering")

    assert layering("") == {"strategy": "pipeline", "pipeline": []}
    kept = layering("layering.memory = false;")
    assert kept == {"strategy": "pipeline", "pipeline": [], "memory": False}
    assert layering('layering.strategy = "auto";') == {"strategy": "auto", "pipeline": []}
    with pytest.raises(
        NixError, match=r"give layeringPipeline or layering\.pipeline, but not both"
    ):
        layering("layering.pipeline = [ ];")


def test_a_pipeline_with_a_mistake_is_named(library: Library) -> None:
    with pytest.raises(NixError, match=r"pipeline\[0\].*no operation 'popularity'"):
        layers_of(library, 'layeringPipeline = [ ["popularity"] ];')


def test_the_last_image_is_remembered(library: Library, tmp_path: Path) -> None:
    """By the plan file that the app beside the image writes, and by the image itself."""
    update = library.build(f"(nixdock.buildLayeredImage {{ {PRODUCT % '1'} }}).updatePlan")
    file = tmp_path / "product.plan.json"
    subprocess.run([update / "bin/update-plan", file], check=True, capture_output=True)
    first = json.loads(file.read_text())
    assert first["version"] == 1
    image = library.build(f'nixdock.buildLayeredImage {{ {PRODUCT % "1"} compressor = "none"; }}')
    with open_image(image) as opened:
        assert opened.images[0].config.memory
    kept = [layer for layer in layers_of(library, "") if "app" not in layer]
    for previous in (file, image):
        path = f'builtins.path {{ path = {json.dumps(str(previous))}; name = "previous"; }}'
        after = layers_of(library, f"layering.previous = {path};", "2")
        assert after[: len(kept)] == kept
        assert after[-1][0] == "app"


def test_a_plan_that_is_yet_to_be_made(library: Library) -> None:
    assert layers_of(library, "layering.previous = /nowhere/plan.json;") == layers_of(library, "")


@pytest.mark.parametrize(
    ("directory", "hint"),
    [("/nowhere", "updatePlan$"), ("/nix/store/absent", "updatePlan, and `git add` it$")],
    ids=["plain", "flake"],
)
def test_a_missing_plan_is_named_in_a_warning(library: Library, directory: str, hint: str) -> None:
    """In a flake, whose source is in the store, the file may only be unknown to git."""
    image = f'{{ name = "x"; layering.previous = {directory}/plan.json; }}'
    warnings = library.warnings(f"(nixdock.streamLayeredImage {image}).drvPath")
    assert f"image x: layering.previous: there is no {directory}/plan.json" in warnings
    assert re.search(hint, warnings.strip())


def test_a_missing_plan_in_a_text_is_named_too(library: Library, tmp_path: Path) -> None:
    """As of `self` in a flake: without it, the first plan could not be made."""
    source = f'builtins.path {{ path = {json.dumps(str(tmp_path))}; name = "source"; }}'
    image = f"""nixdock.streamLayeredImage {{
      name = "x"; layering.previous = "${{{source}}}/plan.json"; }}"""
    warnings = library.warnings(f"({image}).drvPath")
    assert re.search("there is no /nix/store/[^/]*-source/plan.json, .* `git add` it$", warnings)
    assert library.evaluate(f"({image}).remote.layering") == {}
    (tmp_path / "plan.json").write_text("{}")
    assert library.warnings(f"({image}).drvPath") == ""


def test_the_new_plan_asks_to_be_added_to_git(library: Library, tmp_path: Path) -> None:
    """Where it is in a repository that does not know it."""
    build = f"(nixdock.buildLayeredImage {{ {PRODUCT % '1'} }}).updatePlan"
    program = library.build(build) / "bin/update-plan"

    def update() -> list[str]:
        done = subprocess.run([program], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stderr.splitlines()

    assert update() == ["wrote product.plan.json"]
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    hint = "a flake has only files that git knows: git add product.plan.json"
    assert update() == ["wrote product.plan.json", hint]
    subprocess.run(["git", "add", "product.plan.json"], cwd=tmp_path, check=True)
    assert update() == ["wrote product.plan.json"]


def test_a_family_shares_layers(library: Library) -> None:
    stream = (
        "let family = nixdock.planFamily {"
        ' a = { name = "a"; contents = [ pkgs.redis pkgs.bash ]; maxLayers = 6; };'
        ' b = { name = "b"; contents = [ pkgs.nginx pkgs.bash ]; maxLayers = 6; }; };'
        " in (nixdock.streamLayeredImage family.%s).conf"
    )
    one, two = (
        {
            tuple(layer)
            for layer in json.loads(library.build(stream % name).read_text())["store_layers"]
        }
        for name in "ab"
    )
    shared = [layer[0].partition("-")[2] for layer in one & two]
    assert len(one) <= 5
    assert len(two) <= 5
    assert any(name.startswith("libc6") for name in shared)
    assert any(name.startswith("bash") for layer in one & two for name in map(_name, layer))


def test_a_family_may_have_base_images(library: Library) -> None:
    """What they have is in no layer of the plan, and their layers count."""
    base = (
        'nixdock.buildLayeredImage { name = "base"; tag = "t"; contents = [ pkgs.bash ];'
        ' compressor = "none"; maxLayers = 3; }'
    )
    stream = (
        "let family = nixdock.planFamily {"
        f' name = {{ name = "a"; contents = [ pkgs.redis pkgs.bash ]; fromImage = {base};'
        ' fromImageName = "base"; fromImageTag = "t"; maxLayers = 6; includeNixDB = true; };'
        ' b-2 = { name = "b"; contents = [ pkgs.redis pkgs.bash ]; }; };'
        " in (nixdock.streamLayeredImage family.%s).conf"
    )
    based = json.loads(library.build(stream % "name").read_text())["store_layers"]
    alone = json.loads(library.build(stream % "b-2").read_text())["store_layers"]
    in_base = set(map(str, library.closure_of("[ pkgs.bash ]")))
    assert 1 <= len(based) <= 6 - 3 - 2
    assert in_base.isdisjoint(chain.from_iterable(based))
    assert in_base.union(chain.from_iterable(based)) == {*chain.from_iterable(alone)}


def test_more_layers_than_docker_takes_count_as_125(library: Library) -> None:
    """With the layer of the Nix database among them."""
    plan = (
        'limit: (nixdock.planFamily { a = { name = "a"; contents = [ pkgs.bash ];'
        " includeNixDB = true; maxLayers = limit; }; }).a.layering.plan"
    )
    assert library.evaluate(f"let plan = {plan}; in plan 200 == plan 125 && plan 125 != plan 124")


def test_a_family_continues_plans(library: Library, tmp_path: Path) -> None:
    """Those that the programs beside its images wrote: whole layers stay."""

    def family(version: str, a: str = "", b: str = "") -> str:
        app = f'(pkgs.writeTextDir "app" "{version} ${{pkgs.redis}}")'
        return (
            "(nixdock.planFamily {"
            f' a = {{ name = "a"; tag = "t"; contents = [ {app} pkgs.bash ]; maxLayers = 12;'
            f" {a} }};"
            f' b = {{ name = "b"; tag = "t"; contents = [ pkgs.nginx ]; maxLayers = 12; {b} }}; }})'
        )

    def layers(image: str) -> list[list[str]]:
        conf = library.build(f"(nixdock.streamLayeredImage {image}).conf")
        resolved = json.loads(conf.read_text())
        assert "history" in resolved, "the image remembers its plan"
        layers: list[list[str]] = resolved["store_layers"]
        return layers

    for name in "ab":
        program = library.build(f"(nixdock.buildLayeredImage {family('1')}.{name}).updatePlan")
        file = tmp_path / f"{name}.plan.json"
        subprocess.run([program / "bin/update-plan", file], check=True, capture_output=True)
        assert json.loads(file.read_text())["history"]["steps"] == 0
    plans = [f"layering.previous = {tmp_path}/{name}.plan.json;" for name in "ab"]
    whole = [layer for layer in layers(f"{family('1')}.a") if not _has_app(layer)]
    after = layers(f"{family('2', *plans)}.a")
    assert [layer for layer in after if layer in whole] == whole
    assert _has_app(after[-1])
    assert layers(f"{family('2', *plans)}.b") == layers(f"{family('1')}.b")
    volatile = family("1", b="layering.volatile = [ pkgs.glibc ];")
    assert layers(f"{volatile}.b") != layers(f"{family('1')}.b")


def _has_app(layer: list[str]) -> bool:
    return any(_name(path) == "app" for path in layer)


def test_images_of_a_family_may_lack_a_plan(library: Library) -> None:
    family = '{ a = { name = "x"; layering.previous = /nowhere/plan.json; }; }'
    image = f"nixdock.streamLayeredImage (nixdock.planFamily {family}).a"
    warnings = library.warnings(f"({image}).drvPath")
    assert "image x: layering.previous: there is no /nowhere/plan.json" in warnings


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("{ }", "there is no image; give at least one"),
        (
            '{ "a b" = { name = "x"; }; c = { name = "c"; }; }',
            """["a b"]: names of plans consist of letters, digits, '_', '.' and '-'""",
        ),
        (
            '{ a = { name = "x"; fromImage = "ubuntu"; }; }',
            'fromImage of a is a file, not a reference such as "ubuntu"',
        ),
        (
            '{ a = { name = "x"; layering.groups = [ ]; }; }',
            "layering.groups of a: an image of a family has only layering.previous",
        ),
        (
            '{ a = { name = "x"; layeringPipeline = [ ]; }; }',
            "layeringPipeline of a: an image of a family has only layering.previous",
        ),
    ],
)
def test_a_family_is_checked(library: Library, family: str, message: str) -> None:
    expression = (
        f"map (args: (nixdock.streamLayeredImage (args // {{ fromImage = null; }})).drvPath)"
        f" (builtins.attrValues (nixdock.planFamily {family}))"
    )
    with pytest.raises(NixError, match=re.escape(f"nixdock.planFamily: {message}")):
        library.evaluate(expression)


def test_the_example_for_users_of_nix2container(library: Library) -> None:
    """As it is in the documentation: the dependencies are a layer below the application."""
    page = (LIBRARY.parent / "docs/nix2container.md").read_text()
    (example,) = re.findall(r"^```nix\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    conf = library.nix.build(
        f"(let set = pkgs; in let pkgs = set.extend (import {LIBRARY}/overlay.nix); in"
        f" ({example}).stream.conf)"
    )
    first, *others = json.loads(conf.read_text())["store_layers"]
    assert set(first) == set(map(str, library.closure_of("[ pkgs.bash pkgs.hello ]")))
    assert [[_name(path) for path in layer] for layer in others] == [["conversation"]]


def _name(path: str) -> str:
    return path.partition("-")[2]
