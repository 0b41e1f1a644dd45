"""Specs of the Nix library that need nothing built, and images of them from a binary cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..nix.harness import NixError
from ..unit.stores.fake_cache import fake_cache
from .conftest import Library
from .without_nix import HIDE

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]

IMAGE = """nixdock.streamLayeredImage {
  name = "remote"; tag = "t"; maxLayers = 6;
  contents = [ pkgs.hello (pkgs.writeTextDir "etc/x" "text") ];
  config = { Cmd = [ "${pkgs.hello}/bin/hello" ]; Env = [ "PATH=${pkgs.hello}/bin:/bin" ]; };
}"""


def nixdock(*arguments: object, home: Path, hidden: bool = False, **environment: str) -> str:
    """Run nixdock, with the store hidden if that is wanted, and return what it prints."""
    env = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home), "NIX_CONF_DIR": "/none"}
    env |= environment
    hide = [*HIDE, env["PATH"]] if hidden else []
    command = [*hide, sys.executable, "-m", "nixdock", *map(str, arguments)]
    done = subprocess.run(command, env=env, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def remote(library: Library) -> Any:
    """The spec, evaluated without building anything."""
    return library.evaluate(f"({IMAGE}).remote")


def test_the_spec_has_the_roots_and_their_derivations(library: Library, remote: Any) -> None:
    hello = str(library.evaluate("pkgs.hello.outPath"))
    assert hello in remote["closure"]["roots"]
    assert (
        library.evaluate("builtins.unsafeDiscardStringContext pkgs.hello.drvPath")
        in (remote["closure"]["derivations"])
    )
    assert remote["contents"][0] == hello
    assert remote["config"]["Cmd"] == [f"{hello}/bin/hello"]
    assert (remote["tag"], remote["max_layers"]) == ("t", 6)


def test_nothing_is_built_for_it(library: Library) -> None:
    """A spec is evaluated even if one of its derivations can't be built."""
    broken = 'pkgs.runCommand "broken" { } "exit 1"'
    text = f'(nixdock.streamLayeredImage {{ name = "x"; contents = [ ({broken}) ]; }}).remote'
    found: Any = library.evaluate(text)
    assert found["closure"]["roots"] == found["contents"]


@pytest.mark.parametrize("compression", ["xz", "zstd", "none"])
def test_the_image_is_that_of_the_local_store(
    library: Library, remote: Any, tmp_path: Path, compression: str
) -> None:
    conf = library.build(f"({IMAGE}).conf")
    hello, *others = library.closure_of('[ pkgs.hello (pkgs.writeTextDir "etc/x" "text") ]')
    secret, public = tmp_path / "secret", tmp_path / "public"
    library.nix.run("nix-store", "--generate-binary-cache-key", "test-1", str(secret), str(public))
    cache = f"file://{tmp_path}/cache"
    library.nix.run(
        *("nix", "--extra-experimental-features", "nix-command", "copy", "--to"),
        f"{cache}?compression={compression}&secret-key={secret}&write-nar-listing=true",
        *map(str, [hello, *others]),
    )
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(remote))
    expected = nixdock("build", conf, "-o", tmp_path / "expected", home=tmp_path)
    with fake_cache(tmp_path / "cache") as served:
        trust = ["--store", served.url, "--trusted-public-key", public.read_text().strip()]
        build = ["build", spec, "-o", tmp_path / "found", *trust]
        found = nixdock(*build, home=tmp_path, hidden=True, PATH="/none")
    assert found == expected
    assert (tmp_path / "found").read_bytes() == (tmp_path / "expected").read_bytes()


SCRIPTED = """nixdock.streamLayeredImage {
  name = "scripted"; tag = "t";
  contents = [ pkgs.bash ];
  extraCommands = "${pkgs.hello}/bin/hello > greeting; ln -s ${pkgs.jq}/bin/jq jq";
  fakeRootCommands = "${pkgs.gnused}/bin/sed -i s/Hello/Salve/ greeting; chown 7 greeting";
}"""
CHROOTED = """nixdock.buildImage {
  name = "chrooted"; tag = "t";
  copyToRoot = [ pkgs.bash ];
  runAsRoot = "${pkgs.hello}/bin/hello > /greeting; ${pkgs.coreutils}/bin/chmod 700 /greeting";
}"""


@pytest.mark.parametrize("image", [SCRIPTED, CHROOTED], ids=["layered", "run_as_root"])
def test_scripts_run_without_a_store(library: Library, tmp_path: Path, image: str) -> None:
    """Their programs, and what these need, are fetched, and what the results refer to is there."""
    conf = library.build(f"({image}).conf")
    spec = tmp_path / "spec.json"
    remote = library.evaluate(f"({image}).remote")
    spec.write_text(json.dumps(remote))
    assert isinstance(remote, dict)
    # Everything that was realised for the image, programs of its scripts among it.
    drvs = remote["closure"]["derivations"]
    outputs = library.nix.run("nix-store", "--realise", *drvs).split()
    library.nix.run(
        *("nix", "--extra-experimental-features", "nix-command", "copy", "--to"),
        *(f"file://{tmp_path}/cache?compression=none", *outputs),
    )
    expected = nixdock("build", conf, "-o", tmp_path / "expected", home=tmp_path)
    with fake_cache(tmp_path / "cache") as served:
        build = ["build", spec, "-o", tmp_path / "found", "--store", served.url, "--no-check-sigs"]
        found = nixdock(*build, home=tmp_path, hidden=True, PATH="/usr/bin:/bin")
    assert found == expected


def test_programs_need_nixdock_alone(library: Library, tmp_path: Path) -> None:
    program = library.build(f"({IMAGE}).planRemote")
    names = [path.name for path in library.nix.closure(program)]
    assert not any("hello" in name for name in names)
    env = {**os.environ, "NIX_CONF_DIR": "/none", "HOME": str(tmp_path)}
    done = subprocess.run(
        [program / "bin/plan-remote-remote", "--json"], env=env, capture_output=True, check=False
    )
    hello = str(library.evaluate("pkgs.hello.outPath"))
    if done.returncode == 0:
        assert hello in done.stdout.decode()
    else:
        assert f"the local store does not have {hello}" in done.stderr.decode()


def test_the_plan_is_that_of_the_image(library: Library, tmp_path: Path) -> None:
    """With the strategy that it has, and within its limit."""
    image = IMAGE.replace(
        "maxLayers = 6;",
        """maxLayers = 4; layering = {
          strategy = "explicit"; rest = "popularity"; groups = [ pkgs.hello ]; };""",
    )
    conf = json.loads(library.build(f"({image}).conf").read_text())
    (program,) = (library.build(f"({image}).planRemote") / "bin").iterdir()
    shown = subprocess.run(
        [program, "--json"], env={"HOME": str(tmp_path)}, capture_output=True, check=True
    )
    plan = json.loads(shown.stdout)
    assert plan["strategy"] == "explicit"
    assert [layer["paths"] for layer in plan["layers"]] == conf["store_layers"]


def test_a_base_image_must_be_in_a_registry(library: Library) -> None:
    digest = "0" * 64
    base = (
        f'nixdock.pullImage {{ imageName = "alpine"; imageDigest = "sha256:{digest}";'
        f' sha256 = "{digest}"; }}'
    )
    image = f'(nixdock.buildImage {{ name = "x"; fromImage = {base}; }}).remote'
    found: Any = library.evaluate(image)
    assert found["from_image"] == {"path": f"docker://alpine@sha256:{digest}"}
    assert "closure" not in found
    built = 'nixdock.buildImage { name = "y"; }'
    own = f'(nixdock.buildImage {{ name = "x"; fromImage = {built}; }}).remote'
    with pytest.raises(NixError, match="remote needs a fromImage from pullImage"):
        library.evaluate(own)


def test_a_file_that_plans_layers_goes_along(library: Library, tmp_path: Path) -> None:
    """With the program, to other machines; an image in a registry is no file."""
    plan = tmp_path / f"{tmp_path.name}.plan.json"
    plan.write_text('{"version": 1, "layers": []}')
    image = f"""nixdock.streamLayeredImage {{
      name = "x"; layering.previous = [ {plan} "docker://host/x:v1" ]; }}"""
    remote: Any = library.evaluate(f"({image}).remote")
    file, elsewhere = remote["layering"]["previous"]
    assert elsewhere == "docker://host/x:v1"
    program = library.instantiated(f"({image}).pushRemote")
    assert file in library.nix.store("--query", "--requisites", program).split()


@pytest.mark.parametrize(
    ("image", "key"),
    [
        ('{ name = "x"; layering.previous = [ /none (pkgs.writeText "x" "") ]; }', "previous"),
        ('{ name = "x"; layeringPipeline = pkgs.writeText "x" "[ ]"; }', "pipeline"),
        ('(nixdock.planFamily { a = { name = "x"; }; }).a', "plan"),
    ],
)
def test_a_file_that_plans_layers_is_there_before(library: Library, image: str, key: str) -> None:
    for attribute in ("remote", "pushRemote"):
        with pytest.raises(NixError) as caught:
            library.evaluate(f'"${{(nixdock.streamLayeredImage {image}).{attribute}}}"')
        assert (
            f"nixdock: image x: remote needs nothing built, but layering.{key} is built by Nix;"
            " give a file beside the expression"
        ) in str(caught.value)


def test_what_no_store_has_is_realised(library: Library, tmp_path: Path) -> None:
    """An image of a path that was never built is pushed after Nix has built it."""
    unique = tmp_path.name + str(os.getpid())
    text = f'pkgs.writeTextDir "x" "{unique}"'
    image = f'nixdock.streamLayeredImage {{ name = "x"; tag = "t"; contents = [ ({text}) ]; }}'
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(library.evaluate(f"({image}).remote")))
    library.nix.instantiate(text)
    config = library.nix.env["NIX_CONFIG"]
    found = nixdock(
        *("build", spec, "-o", tmp_path / "image", "--realise"), home=tmp_path, NIX_CONFIG=config
    )
    assert found.startswith("sha256:")
