"""`buildImage`: its files, owners and scripts, and the archive that it writes."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nixdock.read.opening import open_image

from ..nix.harness import NixError
from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]


@dataclass(frozen=True)
class Built:
    """An image and its members by name, layer by layer."""

    path: Path
    config: dict[str, Any]
    layers: list[dict[str, tarfile.TarInfo]]

    @property
    def top(self) -> dict[str, tarfile.TarInfo]:
        return self.layers[-1]


def build(library: Library, arguments: str) -> Built:
    path = library.build(
        f'nixdock.buildImage {{ name = "x"; tag = "t"; compressor = "none"; {arguments} }}'
    )
    with open_image(path) as file:
        layers = []
        for layer in file.images[0].layers:
            with layer.open_tar() as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
                layers.append({member.name.strip("./"): member for member in tar})
        return Built(path, json.loads(file.images[0].config_data), layers)


def own_files(members: dict[str, tarfile.TarInfo]) -> dict[str, tarfile.TarInfo]:
    return {name: info for name, info in members.items() if not name.startswith("nix")}


def test_the_archive_has_what_docker_needed_before_1_10(library: Library) -> None:
    base = """nixdock.buildImage { name = "base"; tag = "b"; extraCommands = "echo 1 > one"; }"""
    built = build(library, f'fromImage = {base}; extraCommands = "echo 2 > two";')
    with tarfile.open(built.path) as archive:

        def content(name: str) -> bytes:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

        names = archive.getnames()
        (entry,) = json.loads(content("manifest.json"))
        repositories = json.loads(content("repositories"))
        config = json.loads(content(entry["Config"]))
        ids = [name.removesuffix("/VERSION") for name in names if name.endswith("/VERSION")]
        documents = {layer: json.loads(content(f"{layer}/json")) for layer in ids}
        assert {content(f"{layer}/VERSION") for layer in ids} == {b"1.0"}
        assert all(f"{layer}/layer.tar" in names for layer in ids)
    top = repositories["x"]["t"]
    assert repositories == {"x": {"t": top}}
    assert len(ids) == len(entry["Layers"]) == 2
    parent = documents[top]["parent"]
    assert documents[top]["id"] == top
    assert set(ids) == {top, parent}
    assert "parent" not in documents[parent]
    # The config proper is of the image, not of a layer.
    assert not {"id", "parent", "Size", "checksum", "preferLocalBuild"} & set(config)
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == 2


def test_files_are_copied_and_later_trees_win(library: Library) -> None:
    first, second = (
        f'(pkgs.runCommand "tree" {{ }} "mkdir -p $out/etc; echo {text} > $out/etc/{name};'
        f' echo {text} > $out/etc/both")'
        for name, text in (("a", "first"), ("b", "second"))
    )
    built = build(library, f"copyToRoot = [ {first} {second} ];")
    assert sorted(own_files(built.top)) == ["", "etc", "etc/a", "etc/b", "etc/both"]
    assert built.top["etc/both"].isfile()
    assert built.top["etc/both"].size == len("second\n")


def test_the_old_name_of_copy_to_root(library: Library) -> None:
    tree = '(pkgs.writeTextDir "file" "text")'
    assert "file" in build(library, f"contents = {tree};").top
    with pytest.raises(NixError, match="give copyToRoot or contents, its old name, but not both"):
        build(library, f"contents = {tree}; copyToRoot = {tree};")


LINKED = """copyToRoot = [
  (pkgs.runCommand "one" { } "mkdir -p $out/real; ln -s real $out/link; echo 1 > $out/real/one")
  (pkgs.runCommand "two" { } "mkdir -p $out/link; echo 2 > $out/link/two")
];"""


def test_links_to_directories_become_directories(library: Library) -> None:
    top = own_files(build(library, LINKED).top)
    assert top["link"].isdir()
    assert {"real/one", "link/one", "link/two"} <= set(top)
    assert "real/two" not in top


def test_links_to_directories_are_kept_on_demand(library: Library) -> None:
    top = own_files(build(library, f"{LINKED} keepContentsDirlinks = true;").top)
    assert top["link"].issym()
    assert top["link"].linkname == "real"
    assert {"real/one", "real/two"} <= set(top)
    assert "link/two" not in top


def test_owners_are_those_of_the_files_that_are_copied(library: Library) -> None:
    top = build(
        library,
        """copyToRoot = [ pkgs.busybox ]; uid = 12; gid = "34"; extraCommands = "echo > made";
           config.Cmd = [ "${pkgs.hello}/bin/hello" ];""",
    ).top
    assert {(info.uid, info.gid) for info in own_files(top).values()} == {(12, 34)}
    assert {"made", "bin/busybox"} <= set(top)
    store = {name: info for name, info in top.items() if name.startswith("nix/store/")}
    assert {(info.uid, info.gid) for info in store.values()} == {(0, 0)}
    assert any(name.endswith("/bin/hello") for name in store)


def test_owners_that_root_gives_are_not_changed(library: Library) -> None:
    top = build(library, 'uid = 12; runAsRoot = "touch /a /b; chown 5:6 /b";').top
    assert [(top[name].uid, top[name].gid) for name in ("a", "b")] == [(0, 0), (5, 6)]


def test_extra_commands_after_those_of_root(library: Library) -> None:
    # In the virtual machine of dockerTools, they run as root, too.
    script = """touch /a /c; chown 5:6 /a /c; chmod 4711 /c"""
    after = """[ "$(id -u)" = 0 ]; rm c; echo > d; ln -s d e; chown 7 d; ls ${pkgs.hello}/bin"""
    top = build(library, f"runAsRoot = ''{script}''; extraCommands = ''{after}'';").top
    owners = {name: (top[name].uid, top[name].gid, top[name].mode) for name in ("a", "d", "e")}
    assert owners == {"a": (5, 6, 0o644), "d": (7, 0, 0o644), "e": (0, 0, 0o777)}
    assert "c" not in top


def test_extra_commands_are_a_script(library: Library) -> None:
    script = """
      v="it's (a) $((1 + 1))"
      echo "$v" '"quoted" $v \\(' > "file with space"
      (cd /; pwd) > /dev/null
      mkdir -m 1777 tmp
    """
    arguments = f"extraCommands = ''{script}'';"
    built = build(library, arguments)
    assert built.top["tmp"].mode == 0o1777
    with (
        open_image(built.path) as file,
        file.images[0].layers[0].open_tar() as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        found = {
            member.name.strip("./"): data.read()
            for member in tar
            if (data := tar.extractfile(member))
        }
    assert found == {"file with space": b'it\'s (a) 2 "quoted" $v \\(\n'}


def test_failing_scripts_fail_the_build(library: Library) -> None:
    with pytest.raises(NixError, match="extra_commands failed with exit status 7"):
        build(library, 'extraCommands = "exit 7";')
    with pytest.raises(NixError, match="run_as_root failed with exit status 3"):
        build(library, 'runAsRoot = "false || exit 3";')


def test_sizes_of_a_virtual_machine_are_taken_and_mean_nothing(library: Library) -> None:
    expression = 'nixdock.buildImage { name = "vm"; tag = "t"; runAsRoot = "touch /x"; %s }'
    small = library.build(expression % "diskSize = 512;")
    large = library.build(expression % "diskSize = 4096; buildVMMemorySize = 2048;")
    assert small.read_bytes() == large.read_bytes()


def test_store_paths_of_the_base_are_not_stored_again(library: Library) -> None:
    base = """nixdock.buildImage { name = "base"; tag = "b"; copyToRoot = [ pkgs.busybox ];
      config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }"""
    built = build(
        library,
        f"""fromImage = {base}; copyToRoot = [ (pkgs.writeTextDir "etc/new" "new") ];
            config.Cmd = [ "${{pkgs.hello}}/bin/hello" "${{pkgs.tzdata}}" ];""",
    )
    below, above = (
        {Path(name).parts[2] for name in layer if name.startswith("nix/store/")}
        for layer in built.layers
    )
    hello, tzdata = (library.build(f"pkgs.{name}").name for name in ("hello", "tzdata"))
    assert hello in below
    assert above == {tzdata}
    assert "etc/new" in built.top


def test_either_kind_of_image_is_the_base_of_the_other(library: Library) -> None:
    """Four deep, and everything is there once."""
    expression = '(nixdock.%s { name = "%s"; tag = "t"; extraCommands = "echo > %s"; %s })'
    image = ""
    for depth, function in enumerate(["buildLayeredImage", "buildImage"] * 2):
        below = f"fromImage = {image};" if image else 'config.Env = [ "H=${pkgs.hello}" ];'
        image = expression % (function, f"d{depth}", f"file{depth}", below)
    with open_image(library.build(image)) as file:
        names: list[str] = []
        for layer in file.images[0].layers:
            with layer.open_tar() as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
                names += [member.name.strip("./") for member in tar if not member.isdir()]
    assert len(names) == len(set(names))
    assert {f"file{depth}" for depth in range(4)} <= set(names)


def test_a_base_image_is_chosen_by_name_and_tag(library: Library) -> None:
    two = """(nixdock.mergeImages [
      (nixdock.buildLayeredImage { name = "a"; tag = "1"; config.Env = [ "FROM=a" ]; })
      (nixdock.buildLayeredImage { name = "b"; tag = "2"; config.Env = [ "FROM=b" ]; })
    ])"""
    arguments = f'fromImage = {two}; fromImageName = "b";'
    for choice in ("", 'fromImageTag = "2";'):
        assert build(library, f"{arguments} {choice}").config["config"]["Env"] == ["FROM=b"]
    with pytest.raises(NixError, match=r"no image .*b:1"):
        build(library, f'{arguments} fromImageTag = "1";')


def test_what_docker_build_would_inherit(library: Library) -> None:
    base = """nixdock.buildImage { name = "base"; config = {
      Env = [ "A=1" ]; Cmd = [ "run" ]; User = "me"; ExposedPorts."80/tcp" = { }; }; }"""
    default = build(library, f'fromImage = {base}; config.Env = [ "B=2" ];').config["config"]
    assert default == {"Env": ["A=1", "B=2"]}
    everything = build(library, f'fromImage = {base}; inheritConfig = "all";').config["config"]
    assert everything["Cmd"] == ["run"]
    assert (everything["User"], everything["ExposedPorts"]) == ("me", {"80/tcp": {}})


def test_the_image_is_reproducible(library: Library) -> None:
    for arguments in (
        'copyToRoot = [ pkgs.busybox ]; extraCommands = "mkdir -m 1777 tmp"; includeNixDB = true;',
        'copyToRoot = [ pkgs.coreutils ]; runAsRoot = "mkdir /a; chown 1:2 /a"; uid = 3;',
    ):
        expression = f'nixdock.buildImage {{ name = "check"; {arguments} }}'
        built = library.build(expression)
        assert library.build(expression, "--check") == built
