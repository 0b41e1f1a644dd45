"""Owners, modes, devices, capabilities and deletions, as containers see them."""

from __future__ import annotations

import pytest

from ..runtime.engine import Docker, Engine
from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("checks")]


@pytest.fixture(params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine."""
    found: Engine = request.getfixturevalue(request.param)
    return found


# A user without any rights, and programs that have some of their own.
PERMS = """
  config.User = "1000:1000";
  perms = [
    { path = "${pkgs.coreutils}/bin/chown"; capabilities = [ "cap_chown=ep" ]; }
    { path = "${pkgs.coreutils}/bin/id"; mode = "4555"; }
    { path = "${pkgs.coreutils}/bin/stat"; mode = "2555"; gid = 77; gname = "some"; }
    { regex = "/data(/.*)?"; uid = 1000; gid = 1000; }
    { path = "/data"; regex = ".*/secret"; mode = "0400"; uid = 5; }
  ];
  extraCommands = "mkdir data; echo > data/open; echo > data/secret; chmod 644 data/*";
"""
SCRIPT = """
  id -u
  touch /data/file; chown 12:34 /data/file; stat -c %u:%g /data/file
  stat -c '%n %a %u:%g' /data/open /data/secret
  if { : < /data/secret; } 2> /dev/null; then echo read it; fi
  stat -L -c %a:%g /bin/stat
"""
EXPECTED = """\
0
12:34
/data/open 644 1000:1000
/data/secret 400 5:1000
2555:77
"""


def test_rules_reach_layers_of_store_paths(library: Library, engine: Engine) -> None:
    image = library.build(
        f"""nixdock.buildLayeredImage {{ name = "perms"; tag = "layered"; compressor = "none";
          contents = [ pkgs.bash pkgs.coreutils ]; {PERMS} }}"""
    )
    done = engine.run(engine.load(image), "/bin/bash", "-ec", SCRIPT)
    assert done.stdout == EXPECTED


def test_rules_reach_the_layer_of_an_image_that_has_but_one(
    library: Library, engine: Engine
) -> None:
    image = library.build(
        f"""nixdock.buildImage {{ name = "perms"; tag = "single"; compressor = "none";
          config.Env = [ "PATH=${{pkgs.coreutils}}/bin:${{pkgs.bash}}/bin" ];
          {PERMS} }}"""
    )
    script = SCRIPT.replace("/bin/stat", '"$(type -P stat)"')
    done = engine.run(engine.load(image), "bash", "-ec", script)
    assert done.stdout == EXPECTED


def test_without_rules_there_are_no_such_rights(library: Library, docker: Docker) -> None:
    image = library.build(
        """nixdock.buildLayeredImage { name = "perms"; tag = "none"; compressor = "none";
          contents = [ pkgs.bash pkgs.coreutils ]; config.User = "1000:1000";
          extraCommands = "mkdir -m 1777 tmp"; }"""
    )
    script = "id -u; touch /tmp/file; chown 12:34 /tmp/file"
    done = docker.run(docker.load(image), "/bin/bash", "-ec", script, check=False)
    assert done.stdout == "1000\n"
    assert "Operation not permitted" in done.stderr


# A hard link is a file of its own in the layer, as it is in dockerTools'.
BELOW = """(nixdock.buildLayeredImage {
  name = "below"; tag = "t"; contents = [ pkgs.busybox ];
  extraCommands = ''
    mkdir -p dir whole etc
    echo a > dir/a; echo b > dir/b; echo x > whole/x; echo 1 > etc/file
  '';
})"""
MAKE = """
  rm %(root)sdir/a
  rm -r %(root)swhole; mkdir %(root)swhole; echo y > %(root)swhole/y
  chown 7:8 %(root)setc/file; chmod 4711 %(root)setc/file
  mknod %(root)snull c 1 3; mkfifo %(root)sfifo
  ln %(root)setc/file %(root)ssame
"""
SEEN = """
  cd /; ls dir whole
  stat -c '%n %F %a %u:%g %h %t:%T' etc/file same null fifo
"""
SEEN_EXPECTED = """\
dir:
b

whole:
y
etc/file regular file 4711 7:8 1 0:0
same regular file 4711 7:8 1 0:0
null character special file 644 0:0 1 1:3
fifo fifo 644 0:0 1 0:0
"""


@pytest.mark.parametrize(
    "arguments",
    [
        f"buildImage {{ fromImage = {BELOW}; runAsRoot = ''{MAKE % {'root': '/'}}'';",
        f"""buildLayeredImage {{ fromImage = {BELOW}; enableFakechroot = true;
            fakeRootCommands = ''{MAKE % {"root": "/"}}'';""",
    ],
    ids=["runAsRoot", "enableFakechroot"],
)
def test_what_a_script_of_roots_does_to_its_base(
    library: Library, engine: Engine, arguments: str
) -> None:
    image = library.build(f'nixdock.{arguments} name = "above"; tag = "t"; compressor = "none"; }}')
    done = engine.run(engine.load(image), "/bin/busybox", "sh", "-ec", SEEN)
    assert done.stdout == SEEN_EXPECTED
