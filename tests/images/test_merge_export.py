"""exportImage and mergeImages: what the library's functions give, run and unpacked for real."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from ..runtime.engine import Docker, Podman
from ..runtime.oci_tools import Skopeo
from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]

HELLO = 'config.Cmd = [ "${pkgs.hello}/bin/hello" ];'
GREETING = "Hello, world!"


def listed(archive: Path) -> list[str]:
    done = subprocess.run(["tar", "-tf", archive], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_53_an_export_has_the_programs_of_the_image(library: Library, tmp_path: Path) -> None:
    export = library.build(
        """nixdock.exportImage { diskSize = 1024; fromImage = nixdock.buildLayeredImage {
             name = "bash"; tag = "latest"; contents = [ pkgs.bash ]; }; }"""
    )
    assert export.name.endswith("-bash.tar.gz"), "as in dockerTools, though it is not compressed"
    names = listed(export)
    assert names[0] == "./"
    assert "./bin/bash" in names
    subprocess.run(["tar", "-xf", export, "-C", tmp_path], check=True)
    done = subprocess.run(
        ["chroot", tmp_path, "/bin/bash", "-c", "echo $((6 * 7))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "42\n"


def test_an_export_has_the_name_of_a_file(library: Library) -> None:
    """Also of one in the store, which a string names."""
    names = library.evaluate(
        """map (fromImage: (nixdock.exportImage { inherit fromImage; }).name) [
          (pkgs.path + "/default.nix")
          "${pkgs.writeTextDir "base.tar" ""}/base.tar"
          "${pkgs.writeText "base.tar" ""}"
          (pkgs.writeText "base.tar" "")
        ]"""
    )
    assert names == ["default.nix", "base.tar", "base.tar", "base.tar"]


def test_an_export_of_many_layers_is_what_docker_exports(
    library: Library, docker: Docker, tmp_path: Path
) -> None:
    expression = """nixdock.buildLayeredImage { name = "deep"; tag = "v1"; maxLayers = 60;
      contents = [ (pkgs.python3.withPackages (ps: [ ps.numpy ])) ];
      extraCommands = "mkdir -m 1777 tmp"; compressor = "none"; }"""
    image = library.build(expression)
    docker.load(image)
    container = docker("create", "deep:v1", "/nothing").stdout.strip()
    try:
        docker("export", "--output", tmp_path / "docker.tar", container)
    finally:
        docker("rm", container)
    ours = described(
        library.build(f'nixdock.exportImage {{ fromImage = {expression}; name = "e"; }}')
    )
    theirs = described(tmp_path / "docker.tar")
    # What Docker puts into every container.
    for name in {*theirs} - {*ours}:
        assert name.split("/")[0] in {".dockerenv", "dev", "etc", "proc", "sys"}
    assert len(ours) > 1000
    assert {name: theirs[name] for name in ours} == ours


def described(archive: Path) -> dict[str, tuple[object, ...]]:
    with tarfile.open(archive) as tar:
        return {
            member.name.removeprefix("./"): (
                *(member.type, member.mode & 0o7777, member.uid, member.gid, member.linkname),
                member.size if member.isreg() else 0,
            )
            for member in tar
            if member.name not in {".", ""}
        }


def test_an_image_of_several_is_exported(library: Library) -> None:
    two = """(nixdock.mergeImages [
      (nixdock.buildLayeredImage { name = "a"; tag = "1"; extraCommands = "echo > a"; })
      (nixdock.buildLayeredImage { name = "b"; tag = "2"; extraCommands = "echo > b"; })
    ])"""
    for name, tag, file in (("a", "1", "./a"), ("b", "2", "./b")):
        arguments = f'fromImageName = "{name}"; fromImageTag = "{tag}";'
        names = listed(
            library.build(f'nixdock.exportImage {{ fromImage = {two}; {arguments} name = "x"; }}')
        )
        assert names == ["./", file]


def image(name: str, arguments: str, function: str = "buildLayeredImage") -> str:
    return f'(nixdock.{function} {{ name = "{name}"; {arguments} }})'


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_48_merged_images_all_run(
    library: Library, engine: str, request: pytest.FixtureRequest
) -> None:
    runtime: Docker | Podman = request.getfixturevalue(engine)
    # Podman 4 can't read an archive that is gzip data, not even one of its own.
    last = 'tag = "t"; compressor = "none";' if engine == "podman" else 'tag = "t";'
    bash = image("bash", 'tag = "t"; contents = [ pkgs.bash pkgs.hello ];')
    redis = image("redis", f"{last} copyToRoot = [ pkgs.redis ];", "buildImage")
    names = runtime.load_all(library.build(f"nixdock.mergeImages [ {bash} {redis} ]"))
    by_name = {name.rpartition("/")[2]: name for name in names}
    assert sorted(by_name) == ["bash:t", "redis:t"]
    assert runtime.run(by_name["bash:t"], "/bin/hello").stdout.strip() == GREETING
    assert "v=" in runtime.run(by_name["redis:t"], "/bin/redis-server", "--version").stdout


def test_49_merged_images_with_generated_tags(library: Library, docker: Docker) -> None:
    bash = image("bash", "contents = [ pkgs.bash ];")
    redis = image("redis", f"{HELLO}")
    tag = library.evaluate(f"{bash}.imageTag")
    names = docker.load_all(library.build(f"nixdock.mergeImages [ {bash} {redis} ]"))
    assert names[0] == f"bash:{tag}"
    assert docker.run(names[0], "/bin/bash", "-c", "echo $((1 + 1))").stdout == "2\n"
    assert docker.run(names[1]).stdout.strip() == GREETING


def test_50_owners_survive_merging(library: Library, docker: Docker) -> None:
    owned = image(
        "alice",
        """tag = "t"; contents = [ pkgs.coreutils ]; extraCommands = "mkdir -p home/alice";
           perms = [ { path = "/home/alice"; uid = 1000; } ];""",
    )
    names = docker.load_all(library.build(f"nixdock.mergeImages [ {owned} {image('b', HELLO)} ]"))
    assert docker.run(names[0], "/bin/stat", "-c", "%u", "/home/alice").stdout == "1000\n"


@pytest.mark.parametrize("last", ["none", "gz"])
def test_52_merging_varying_compressors(library: Library, docker: Docker, last: str) -> None:
    images = [
        image(name, f'tag = "t"; compressor = "{compressor}"; {HELLO}')
        for name, compressor in (("c", "gz"), ("d", "none"), ("e", "zstd"), ("f", last))
    ]
    archive = library.build(f"nixdock.mergeImages [ {' '.join(images)} ]")
    assert archive.read_bytes().startswith(b"\x1f\x8b") == (last == "gz")
    names = docker.load_all(archive)
    assert names == ["c:t", "d:t", "e:t", "f:t"]
    for name in names:
        assert docker.run(name).stdout.strip() == GREETING


def test_52_a_merged_archive_may_be_zstd(library: Library, podman: Podman) -> None:
    one = image("c", f'tag = "t"; {HELLO}')
    last = image("d", f'tag = "t"; compressor = "zstd"; {HELLO}')
    archive = library.build(f"nixdock.mergeImages [ {one} {last} ]")
    assert archive.read_bytes().startswith(b"\x28\xb5\x2f\xfd")
    for name in podman.load_all(archive):
        assert podman.run(name).stdout.strip() == GREETING


def test_old_and_new_forms_are_merged(
    library: Library, docker: Docker, skopeo: Skopeo, tmp_path: Path
) -> None:
    """buildImage's classic archive, an OCI layout, and what Docker itself saves."""
    docker.load(
        library.build(f'nixdock.buildLayeredImage {{ name = "s"; tag = "t"; uid = 7; {HELLO} }}')
    )
    docker.save("s:t", tmp_path / "saved.tar")
    classic = image("k", f'tag = "t"; {HELLO}', "buildImage")
    layout = image("l", f'tag = "t"; format = "oci-layout"; {HELLO}')
    archive = library.build(f"nixdock.mergeImages [ {layout} {classic} {tmp_path}/saved.tar ]")
    with tarfile.open(archive) as tar:
        assert "repositories" in tar.getnames()
    docker.rmi("s:t")
    assert docker.load_all(archive) == ["l:t", "k:t", "s:t"]
    for name in ("l:t", "k:t", "s:t"):
        assert docker.run(name).stdout.strip() == GREETING
        skopeo.copy(f"docker-archive:{archive}:{name}", f"oci:{tmp_path}/back:{name[0]}")


def test_results_are_reproducible(library: Library) -> None:
    one = image("c", f'tag = "t"; {HELLO}')
    for expression in (
        f"nixdock.mergeImages [ {one} {one} ]",
        f"nixdock.exportImage {{ fromImage = {one}; }}",
    ):
        library.build(expression)
        library.build(expression, "--check")
