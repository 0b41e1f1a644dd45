"""What dockerTools' own tests check of its examples, in real Docker, by the same numbers.

Here are those about how images are made and loaded; `test_checks_layers` has those about layers,
and `test_checks_files` those about what is in them. Elsewhere are the nix-shell images (63 to 71).
Left out is what is made of NixOS modules (59). What is pulled from Docker Hub (22, 24) comes from a
registry of our own.
"""

from __future__ import annotations

import gzip
import shutil
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ..nix.harness import NixError
from ..runtime.command import wait_until
from ..runtime.engine import Docker, Engine, Podman
from ..runtime.oci_tools import Skopeo
from ..runtime.registry import Registry
from .conftest import LIBRARY, Library
from .examples import Examples

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("checks")]

GREETING = "Hello, world!"


@pytest.fixture(scope="module")
def examples(library: Library, docker: Docker) -> Examples:
    """The examples."""
    return Examples.of(library, docker)


@pytest.fixture(params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine."""
    found: Engine = request.getfixturevalue(request.param)
    return found


def test_01_hello_on_root_runs(examples: Examples, engine: Engine) -> None:
    assert examples.run("helloOnRoot", engine=engine) == GREETING


NO_STORE = ["helloOnRootNoStore", "helloOnRootNoStoreFakechroot"]


@pytest.mark.parametrize("name", NO_STORE, ids=["02", "03"])
def test_without_the_store_it_does_not_run(examples: Examples, name: str) -> None:
    done = examples.docker.run(examples.load(name), check=False)
    assert done.returncode == 127
    assert GREETING not in done.stdout


@pytest.mark.parametrize("name", NO_STORE, ids=["04", "05"])
def test_without_the_store_there_is_none(examples: Examples, name: str, tmp_path: Path) -> None:
    docker = examples.docker
    container = docker("create", examples.load(name)).stdout.strip()
    try:
        docker("export", "--output", tmp_path / "root.tar", container)
    finally:
        docker("rm", container)
    with tarfile.open(tmp_path / "root.tar") as tar:
        names = [member.name for member in tar]
    assert "bin/hello" in names
    assert not [found for found in names if found.startswith("nix/store")]


@pytest.mark.parametrize("name", NO_STORE, ids=["06", "07"])
def test_with_the_machines_store_it_runs(examples: Examples, name: str) -> None:
    store = ["--volume", "/nix/store:/nix/store:ro"]
    assert examples.run(name, options=store) == GREETING


def test_08_the_date_is_constant(examples: Examples) -> None:
    assert examples.config("bash")["Created"].startswith("1970-01-01T00:00:01Z")


def test_09_bash_runs_and_has_the_tag_of_the_attribute(examples: Examples) -> None:
    assert examples.load("bash") == examples.reference("bash") == "bash:latest"
    assert "GNU bash" in examples.run("bash", "bash", "--version")


@pytest.mark.parametrize(
    "name",
    ["bashNoTag", "bashNoTagLayered", "bashNoTagStreamLayered", "nixLayered"],
    ids=["10", "11", "12", "13"],
)
def test_generated_tags_are_those_of_the_attributes(examples: Examples, name: str) -> None:
    image = examples.load(name)
    assert image == examples.reference(name)
    assert len(examples.attributes[name]["tag"]) == 32
    examples.docker("tag", image, "other:name")
    examples.docker("rmi", image)
    assert image not in examples.docker.inspect("other:name")["RepoTags"]
    examples.docker("tag", "other:name", image)
    examples.docker("rmi", "other:name")


@pytest.mark.parametrize("name", ["bashUncompressed", "bashLayeredUncompressed"], ids=["15", "16"])
def test_an_archive_need_not_be_compressed(examples: Examples, name: str) -> None:
    assert examples.file(name).suffix == ".tar"
    assert "GNU bash" in examples.run(name, "/bin/bash", "--version")


@pytest.mark.parametrize(
    "name", ["bashZstdCompressed", "bashLayeredZstdCompressed"], ids=["14", "17"]
)
def test_an_archive_may_be_zstd(examples: Examples, podman: Podman, name: str) -> None:
    """In Podman, as Docker reads these from version 23 on, and Debian's is older."""
    assert examples.file(name).read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
    assert "GNU bash" in examples.run(name, "/bin/bash", "--version", engine=podman)


def test_18_the_database_knows_the_store(examples: Examples) -> None:
    nix = examples.nixdock.build("pkgs.nix")
    expected = sorted(map(str, examples.nixdock.nix.closure(nix)))
    for name in ("nix", "nixLayered", "nix-layered"):
        found = examples.run(name, "nix-store", "--query", "--requisites", str(nix)).split()
        assert sorted(found) == expected, name


@pytest.mark.parametrize("name", ["nix", "nixLayered"], ids=["20", "21"])
def test_links_between_programs_stay_links(examples: Examples, name: str) -> None:
    program = examples.nixdock.build("pkgs.nix") / "bin/nix-daemon"
    assert examples.run(name, "readlink", str(program)) == "nix"


@pytest.fixture(scope="module")
def pulled(
    examples: Examples,
    skopeo: Skopeo,
    registry: Registry,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """The expression of an image with Nix that a registry has, by its digest."""
    there = registry.reference("checks/nix", "v1")
    # Old versions of Skopeo can't read an archive that is gzip data.
    plain = tmp_path_factory.mktemp("pulled") / "plain.tar"
    with gzip.open(examples.file("nix")) as packed, plain.open("wb") as stream:
        shutil.copyfileobj(packed, stream)
    skopeo.copy(f"docker-archive:{plain}", f"docker://{there}", preserve_digests=False)
    printed = examples.nixdock.nix.run(
        *(sys.executable, "-m", "nixdock", "prefetch", "--no-tls-verify", "--quiet"),
        *("--final-image-name", "nix", f"{registry.address}/checks/nix", "v1"),
    )
    return f"(nixdock.pullImage ({printed} // {{ tlsVerify = false; }}))"


def test_22_nix_of_a_pulled_image_runs(examples: Examples, pulled: str) -> None:
    image = examples.docker.load(examples.nixdock.build(pulled))
    assert image == "nix:v1"
    assert examples.docker.run(image, "nix-store", "--version").stdout.startswith("nix-store")


def test_24_on_top_of_a_pulled_image(examples: Examples, pulled: str) -> None:
    image = examples.docker.load(
        examples.nixdock.build(
            f"""nixdock.buildImage {{
              name = "onTopOfPulledImage"; tag = "latest"; fromImage = {pulled};
              config.Cmd = [ "${{pkgs.hello}}/bin/hello" ];
            }}"""
        )
    )
    assert image == "ontopofpulledimage:latest"
    assert examples.docker.run(image).stdout.strip() == GREETING
    assert "nix-store" in examples.docker.run(image, "nix-store", "--version").stdout


@pytest.mark.parametrize("name", ["nginx", "nginxStream"], ids=["23", "23-stream"])
def test_nginx_serves(examples: Examples, name: str) -> None:
    """Within the container's own network, where port 80 is nobody else's."""
    client = ["/bin/busybox", "wget", "-q", "-O", "-", "http://127.0.0.1/"]
    with examples.docker.running(examples.load(name), network="none") as container:
        asked = examples.load("no-store-paths")

        def page() -> str:
            network = f"container:{container}"
            return examples.docker.run(asked, *client, network=network, check=False).stdout

        wait_until(lambda: "Hello from nginx" in page(), what="nginx's page")


@pytest.mark.parametrize("name", ["unstableDate", "unstableDateLayered"], ids=["26", "27"])
def test_the_date_may_be_now(examples: Examples, name: str) -> None:
    created = datetime.fromisoformat(examples.config(name)["Created"])
    assert created > datetime(2001, 1, 1, tzinfo=UTC)


def environment_of(examples: Examples, name: str) -> list[str]:
    return examples.run(name, "env").splitlines()


@pytest.mark.parametrize(
    "name", ["environmentVariables", "environmentVariablesLayered"], ids=["35", "36"]
)
def test_the_environment_is_inherited(examples: Examples, name: str) -> None:
    found = environment_of(examples, name)
    assert {"FROM_PARENT=true", "FROM_CHILD=true", "LAST_LAYER=child"} <= set(found)


def test_37_a_variable_stands_once(examples: Examples) -> None:
    environment = examples.config("environmentVariablesLayered")["Config"]["Env"]
    assert [e for e in environment if e.startswith("LAST_LAYER=")] == ["LAST_LAYER=child"]


@pytest.mark.parametrize(
    "name",
    ["cross", "build-image-with-architecture", "layered-image-with-architecture"],
    ids=["43", "57", "58"],
)
def test_an_image_for_another_machine_says_so(examples: Examples, name: str) -> None:
    assert examples.config(name)["Architecture"] == "arm64"


@pytest.mark.parametrize(
    ("example", "name"),
    [("prefixedImage", "image"), ("prefixedLayeredImage", "layered-image")],
    ids=["45", "46"],
)
def test_names_keep_their_registry(examples: Examples, example: str, name: str) -> None:
    full = f"registry-1.docker.io/{name}:latest"
    assert examples.load(example) == examples.reference(example) == full
    assert examples.run(example) == GREETING


@pytest.mark.parametrize(
    ("example", "bash"),
    [("mergedBashAndRedis", "bash"), ("mergedBashNoTagAndRedis", "bashNoTag")],
    ids=["48", "49"],
)
def test_merged_images_run(examples: Examples, example: str, bash: str) -> None:
    first, second = examples.load_all(example)
    assert [first, second] == [examples.reference(bash), "redis:latest"]
    assert "GNU bash" in examples.docker.run(first, "bash", "--version").stdout
    assert "Redis server" in examples.docker.run(second, "redis-server", "--version").stdout


def test_50_merging_keeps_owners(examples: Examples) -> None:
    image = examples.load_all("mergedBashFakeRoot")[1]
    owner = examples.docker.run(image, "/bin/busybox", "stat", "-c", "%u", "/home/alice")
    assert owner.stdout == "1000\n"


def test_52_merged_images_may_be_compressed_differently(examples: Examples, podman: Podman) -> None:
    """In Podman, as the last one's compression, zstd, is that of the whole."""
    names = examples.load_all("mergeVaryingCompressor", podman)
    assert [name.rpartition("/")[2] for name in names] == [
        "redis:latest",
        "bash-uncompressed:latest",
        "bash-zstd:latest",
    ]
    for name in names:
        assert "GNU bash" in podman.run(name, "/bin/bash", "--version").stdout


def test_53_an_exported_image_has_bash(examples: Examples) -> None:
    with tarfile.open(examples.file("exportBash")) as tar:
        assert "./bin/bash" in tar.getnames()


def test_the_librarys_own_checks_of_the_examples_pass(examples: Examples) -> None:
    """Those that need no daemon, as a flake runs them."""
    built = examples.nixdock.build('pkgs.linkFarm "tests" nixdock.tests')
    assert {path.name for path in built.iterdir()} >= {"layers", "store", "verify"}


def test_the_librarys_own_checks_find_what_is_wrong(examples: Examples) -> None:
    with pytest.raises(NixError, match="expected 1970-01-01T00:00:01Z, found 1970-01-01T00:00:05Z"):
        examples.nixdock.build(
            f"""(import {LIBRARY}/tests.nix {{ inherit pkgs; nixdock = nixdock // {{
              examples = nixdock.examples // {{
                bash = nixdock.examples.bash.override {{ created = "@5"; }}; }}; }}; }}).dates"""
        )
