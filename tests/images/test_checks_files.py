"""What dockerTools' own tests check of files and their owners, in real engines, by its numbers."""

from __future__ import annotations

import pytest

from ..runtime.engine import Docker, Engine
from .conftest import Library
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


def test_19_the_store_can_be_read_by_everyone(examples: Examples) -> None:
    image = "bashLayeredWithUser"
    assert examples.run(image, "stat", "-c", "%a", "/nix", "/nix/store").split() == ["755", "755"]
    assert examples.run(image, "id", "-un") == "somebody"
    assert examples.run(image, "/bin/bash", "-c", "cd; pwd; echo mine > f; cat f").split() == [
        "/home/somebody",
        "mine",
    ]


def test_25_scripts_keep_what_shells_give_a_meaning_to(examples: Examples) -> None:
    image = "runAsRootExtraCommands"
    assert examples.run(image, "cat", "/from-run-as-root") == "it's root ($1 = 1)"
    assert examples.run(image, "cat", "/from-extra-commands") == r'it says "hello" (\$2)'


def test_42_the_database_is_right_about_every_file(examples: Examples) -> None:
    assert examples.run("filesInStore") == "some data"
    done = examples.docker.run(
        examples.load("filesInStore"), "nix-store", "--verify", "--check-contents"
    )
    assert "checking contents" in done.stderr or "checking path existence" in done.stderr
    for word in ("error", "missing", "modified", "disappeared"):
        assert word not in done.stderr


def test_47_scripts_as_if_by_root_give_owners(examples: Examples, engine: Engine) -> None:
    command = ["/bin/busybox", "stat", "-c", "%u:%g", "/home/alice"]
    assert examples.run("layeredImageWithFakeRootCommands", *command, engine=engine) == "1000:0"


def test_51_what_such_a_script_refers_to_is_in_the_image(examples: Examples) -> None:
    assert examples.run("layeredImageWithFakeRootCommands", "/hello/bin/hello") == GREETING


def test_54_such_a_script_may_have_the_image_as_its_root(examples: Examples) -> None:
    assert examples.run("imageViaFakeChroot") == GREETING
    assert examples.run("imageViaFakeChroot", "/bin/hello") == GREETING


def test_a_script_finds_the_programs_of_its_base_image(examples: Examples) -> None:
    said = examples.run("runAsRootParentImage", "/copied-bash", "-c", "echo $((6 * 7))")
    assert said == "42"


def test_a_service_has_a_user_and_a_directory(examples: Examples) -> None:
    image = examples.load("redis")
    config = examples.docker.inspect(image)["Config"]
    assert (config["WorkingDir"], config["Volumes"]) == ("/data", {"/data": {}})
    script = 'while IFS=: read -r n _ u _; do [ "$n" = redis ] && echo "$u"; done < /etc/passwd'
    uid = examples.run("redis", "/bin/bash", "-c", script)
    assert uid == examples.run("redis", "/bin/stat", "-c", "%u", "/data")
    assert int(uid) > 0
    assert examples.run("redis", "/bin/bash", "-c", "id -u", options=["--user", "redis"]) == uid


def test_several_packages_are_in_one_bin(examples: Examples) -> None:
    script = "echo old | /bin/sed s/old/new/ | /bin/awk '{ print $1, 2 + 3 }'"
    assert examples.run("editors", "/bin/bash", "-c", script) == "new 5"


@pytest.mark.parametrize(
    "name", ["build-image-with-path", "layered-image-with-path"], ids=["55", "56"]
)
def test_contents_may_be_paths_of_the_source(examples: Examples, name: str) -> None:
    said = examples.run(name, "/bin/busybox", "cat", "/hello.txt")
    assert said == "Hello from a file of the source."


def test_60_certificates_are_where_programs_look(examples: Examples) -> None:
    for file in (
        "/etc/ssl/certs/ca-bundle.crt",
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
    ):
        assert "BEGIN CERTIFICATE" in examples.run("image-with-certs", "head", "-n", "30", file)


def test_61_files_can_be_given_away(library: Library, docker: Docker) -> None:
    image = library.build(
        """nixdock.buildLayeredImage {
          name = "chown-test"; tag = "t"; compressor = "none";
          contents = [ pkgs.coreutils ]; enableFakechroot = true;
          fakeRootCommands = "touch /testfile; chown 12345:12345 /testfile";
          config.Cmd = [ "/bin/stat" "-c" "%u:%g" "/testfile" ]; }"""
    )
    assert docker.run(docker.load(image)).stdout == "12345:12345\n"


NON_ROOT = """nixdock.streamLayeredImage {
  name = "non-root-test"; tag = "t"; uid = 1000; gid = 1000; uname = "user"; gname = "user";
  contents = [
    pkgs.bash pkgs.coreutils
    (nixdock.fakeNss.override {
      extraPasswdLines = [ "user:x:1000:1000::/home/user:/bin/bash" ];
      extraGroupLines = [ "user:x:1000:" ]; })
  ];
  extraCommands = "mkdir -p home/user";
  perms = [ { path = "/home/user"; uid = 1000; gid = 1000; mode = "0700"; } ];
  config = { User = "user"; WorkingDir = "/home/user"; Cmd = [ "/bin/bash" "-ec" ''
    id -un; id -u; id -g
    # The store and all in it is the user's, who can run programs of it and add to it.
    for file in /nix /nix/store $(readlink -f /bin/bash) "$HOME"; do stat -c %u:%g $file; done
    mkdir /nix/store/new
    cat /etc/passwd > own; stat -c %U own
    # Everything else is root's.
    for file in / /etc /bin; do
      if touch $file/x 2> /dev/null; then echo could write to $file; fi
    done
  '' ]; };
}"""


def test_62_a_user_owns_the_store_and_no_more(library: Library, engine: Engine) -> None:
    file = library.build(f'pkgs.runCommand "non-root.tar" {{ }} "${{{NON_ROOT}}} > $out"')
    said = engine.run(engine.load(file)).stdout.split()
    assert said == ["user", "1000", "1000", *["1000:1000"] * 4, "user"]
