"""A Nix database in the image is one that Nix works with."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ..runtime.engine import Docker
from ..runtime.oci_tools import Umoci
from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]

IMAGE = """nixdock.buildLayeredImageWithNixDb {
  name = "nix"; tag = "db"; compressor = "none"; maxLayers = 12;
  contents = [ pkgs.nix pkgs.bash pkgs.coreutils ];
  extraCommands = ''
    mkdir -m 1777 tmp; mkdir -p root etc/nix
    echo root:x:0:0::/root:/bin/bash > etc/passwd; echo root:x:0: > etc/group
    printf '%s =\\n' build-users-group substituters > etc/nix/nix.conf
    echo sandbox = false >> etc/nix/nix.conf
    # Debian's Nix looks for its build hook where Debian puts it.
    mkdir -p usr/libexec; ln -s ${pkgs.nix}/libexec/nix usr/libexec/nix
  '';
  config = { Env = [ "PATH=/bin" "HOME=/root" "HELLO=${pkgs.hello}" "USER=root" ]; };
}"""


@pytest.fixture(scope="module")
def image(library: Library, docker: Docker) -> str:
    """The image, loaded."""
    return docker.load(library.build(IMAGE))


@pytest.fixture
def container(image: str, docker: Docker) -> Iterator[str]:
    """A container of the image that waits."""
    with docker.running(image, "/bin/sleep", "600", network="none") as running:
        yield running


def _shell(docker: Docker, container: str, script: str, *, check: bool = True) -> str:
    done = docker.exec(container, "/bin/bash", "-ec", script, check=check)
    return done.stdout


@pytest.fixture
def closure(library: Library) -> list[str]:
    """All store paths that the image holds, sorted."""
    return sorted(map(str, library.closure_of("[ pkgs.nix pkgs.bash pkgs.coreutils pkgs.hello ]")))


def test_registered_is_what_the_image_holds(
    docker: Docker, container: str, closure: list[str]
) -> None:
    held = _shell(docker, container, "echo /nix/store/*-*").split()
    registered = _shell(docker, container, "nix-store --query --requisites /nix/store/*-*").split()
    assert sorted(held) == closure
    assert sorted(registered) == closure


def test_contents_verify_and_tampering_is_found(docker: Docker, container: str) -> None:
    assert "error" not in _shell(docker, container, "nix-store --verify --check-contents 2>&1")
    report = _shell(
        docker,
        container,
        "f=$(readlink -f $HELLO/bin/hello); chmod u+w $f; echo x >> $f;"
        " nix-store --verify --check-contents 2>&1",
        check=False,
    )
    assert "was modified" in report


def test_collecting_garbage_keeps_the_image(
    docker: Docker, container: str, closure: list[str]
) -> None:
    _shell(docker, container, "nix-store --gc")
    assert sorted(_shell(docker, container, "echo /nix/store/*-*").split()) == closure
    assert "Hello, world!" in _shell(docker, container, "$HELLO/bin/hello")


def test_sizes_are_known(library: Library, docker: Docker, container: str) -> None:
    command = "nix --extra-experimental-features nix-command path-info -S $HELLO 2>/dev/null"
    path, size = _shell(docker, container, command).split()
    assert library.nix.nix("path-info", "-S", path).split() == [path, size]


def test_nix_builds_in_the_container(docker: Docker, container: str) -> None:
    script = """out=$(nix-build --no-out-link -E 'derivation {
      name = "made"; system = builtins.currentSystem; builder = "/bin/bash";
      args = [ "-c" "echo made of ${builtins.storePath (builtins.getEnv "HELLO")} > $out" ]; }')
    /bin/cat $out; nix-store --query --references $out"""
    made, reference = _shell(docker, container, script).splitlines()
    assert made == f"made of {reference}"


def test_a_further_closure_is_imported(
    library: Library, docker: Docker, container: str, tmp_path: Path
) -> None:
    redis = library.build("pkgs.redis")
    exported = tmp_path / "export"
    closure = library.nix.closure(redis)
    with exported.open("wb") as stream:
        subprocess.run(
            ["nix-store", "--export", *closure], env=library.nix.env, stdout=stream, check=True
        )
    docker("cp", str(exported), f"{container}:/export")
    _shell(docker, container, "nix-store --import < /export")
    valid = _shell(docker, container, f"nix-store --query --requisites {redis}").split()
    assert sorted(valid) == sorted(map(str, closure))
    assert "error" not in _shell(docker, container, "nix-store --verify --check-contents 2>&1")


def test_the_image_is_reproducible(library: Library) -> None:
    library.build(IMAGE)
    library.build(IMAGE, "--check")


def test_scripts_hand_the_store_over_to_a_user(library: Library, tmp_path: Path) -> None:
    """A path that only a script's result refers to is registered, too."""
    image = library.build("""nixdock.buildLayeredImageWithNixDb {
      name = "nix"; tag = "user"; compressor = "none"; contents = [ pkgs.coreutils ];
      extraCommands = "test -s nix/var/nix/db/db.sqlite; ln -s ${pkgs.hello}/bin/hello hello";
      fakeRootCommands = "chmod 1777 nix/store; chown -R 1000:1000 nix/var;
        chmod 600 nix/var/nix/db/*";
    }""")
    with tarfile.open(_exported(image, tmp_path)) as tar:
        store, database = tar.getmember("./nix/store"), tar.getmember("./nix/var/nix/db/db.sqlite")
        names = [name.removeprefix(".") for name in tar.getnames()]
        tar.extract(database, tmp_path, filter="data")
    assert store.mode == 0o1777
    assert (database.mode, database.uid, database.gid) == (0o600, 1000, 1000)
    held = [name for name in names if re.fullmatch("/nix/store/[^/]+", name)]
    with closing(sqlite3.connect(tmp_path / database.name)) as connection:
        registered = [path for (path,) in connection.execute("select path from ValidPaths")]
    assert sorted(registered) == sorted(held)
    assert any("hello" in name for name in held)


def test_scripts_with_the_tree_as_their_root_find_the_database(
    library: Library, tmp_path: Path
) -> None:
    image = library.build("""nixdock.buildLayeredImageWithNixDb {
      name = "nix"; tag = "user"; compressor = "none"; contents = [ pkgs.coreutils ];
      fakeRootCommands = "chown -R 1000:1000 /nix/var"; enableFakechroot = true;
    }""")
    with tarfile.open(_exported(image, tmp_path)) as tar:
        assert tar.getmember("./nix/var/nix/db/db.sqlite").uid == 1000
        assert tar.getmember("./nix/store").uid == 0


def _exported(image: Path, directory: Path) -> Path:
    command = [sys.executable, "-m", "nixdock", "export", str(image), "-o"]
    subprocess.run([*command, str(directory / "rootfs.tar")], check=True)
    return directory / "rootfs.tar"


@pytest.mark.parametrize("form", ["docker-archive", "oci-layout"])
def test_a_database_over_a_base_image_knows_all_layers(
    library: Library, umoci: Umoci, tmp_path: Path, form: str
) -> None:
    """A new database for a base with one and paths that are added: Nix knows them all."""
    expression = """nixdock.buildLayeredImageWithNixDb { name = "base"; tag = "t";
      compressor = "gz"; format = "%s"; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }"""
    base = library.build(expression % form)
    layout = library.build(expression % "oci-layout")
    root = umoci.unpack(layout, "t", tmp_path / "bundle")
    added = library.closure_of("[ pkgs.coreutils ]")
    graph = tmp_path / "graph"
    graph.write_text(library.nix.store("--dump-db", *map(str, added)))
    new = tmp_path / "new"
    words = ("-m", "nixdock", "db", graph, "-o", new, "--base", base)
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""

    for path in added:
        target = root / path.relative_to("/")
        if not target.exists():
            subprocess.run(["cp", "-a", path, target], check=True)
    shutil.rmtree(root / "nix/var/nix/db")
    shutil.copytree(new / "nix/var/nix/db", root / "nix/var/nix/db")
    store = f"local?root={root}"
    expected = sorted({*map(str, added), *map(str, library.closure_of("[ pkgs.hello ]"))})
    valid = library.nix.store("--store", store, "--query", "--requisites", *expected).split()
    assert sorted(valid) == expected
    assert sorted(p.name for p in (root / "nix/store").glob("*-*")) == [
        Path(path).name for path in expected
    ]
    library.nix.store("--store", store, "--verify", "--check-contents")
