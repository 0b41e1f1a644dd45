"""Scripts that run as if by root in Nix's own sandbox, where nothing of root's is allowed."""

from __future__ import annotations

import tarfile
from pathlib import Path
from uuid import uuid4

import pytest

from ..nix.harness import NixError
from .conftest import Library

pytestmark = [pytest.mark.nix, pytest.mark.xdist_group("nix")]

BASE = """(nixdock.buildImage {
  name = "base"; compressor = "none"; copyToRoot = [ pkgs.busybox ];
  runAsRoot = ''
    mkdir -p /etc /opt/old /home
    echo > /tmp/scratch; rm /tmp/scratch
    echo 1 > /etc/gone; echo 2 > /etc/kept; touch /opt/old/file
    chown 7:8 /etc/kept; chown 1000:100 /home; chmod 2750 /home; chmod 4755 /bin/busybox
    mknod /disk b 7 1
  '';
})"""


def own_layer(library: Library, image: str) -> dict[str, tarfile.TarInfo]:
    """What a script has made of an image's own files."""
    layer = library.build(f"({image}).layer")
    return members(layer)


def members(layer: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(layer / "layer.tar") as tar:
        return {member.name: member for member in tar}


def root_image(script: str, base: str = BASE) -> str:
    return f"""nixdock.buildImage {{
      name = "x"; compressor = "none"; fromImage = {base}; runAsRoot = ''{script}''; }}"""


def test_a_base_image_has_what_its_script_has_made(library: Library) -> None:
    found = own_layer(library, BASE)
    busybox, kept, home, disk = (
        found[name] for name in ("/bin/busybox", "/etc/kept", "/home", "/disk")
    )
    assert (busybox.mode, busybox.uid, busybox.gid) == (0o4755, 0, 0)
    assert (kept.mode, kept.uid, kept.gid) == (0o644, 7, 8)
    assert (home.mode, home.uid, home.gid) == (0o2750, 1000, 100)
    assert (disk.isblk(), disk.devmajor, disk.devminor) == (True, 7, 1)
    assert (found["/tmp"].mode, found["/tmp"].uid) == (0o1777, 0)
    places = ("/dev", "/proc", "/build", "/.nixdock", "/nix/store")
    assert not [name for name in found if name.startswith(places)]


def test_a_script_sees_its_base_and_makes_the_difference(library: Library) -> None:
    found = own_layer(
        library,
        root_image(
            """
            [ "$(stat -c '%u:%g %a' /etc/kept)" = '7:8 644' ]
            [ "$(stat -c '%u:%g %a' /home)" = '1000:100 2750' ]
            [ "$(stat -c %F /disk)" = 'block special file' ]
            [ "$(id -u):$(id -g)" = 0:0 ] && [ "$PWD" = / ] && [ $$ = 1 ]
            ${pkgs.hello}/bin/hello > /greeting; cat /proc/1/comm > /dev/null
            rm /etc/gone /disk; rm -r /opt/old; echo file > /opt/old
            chown 9 /etc/kept; rmdir /tmp; echo > /tmp
            """
        ),
    )
    assert sorted(found) == [
        "", "/.wh.disk", "/etc", "/etc/.wh.gone", "/etc/kept", "/greeting", "/opt", "/opt/old",
        "/tmp",
    ]  # fmt: skip
    assert (found["/etc/kept"].uid, found["/etc/kept"].gid) == (9, 8)
    assert found["/opt/old"].isfile()


def test_static_programs(library: Library) -> None:
    found = own_layer(
        library,
        root_image(
            """
            busybox=${pkgs.busybox}/bin/busybox
            [ "$($busybox id -u)" = 0 ]
            $busybox touch /a; $busybox chown 5:6 /a; [ "$(stat -c %u:%g /a)" = 5:6 ]
            $busybox chmod 600 /etc/kept; $busybox mknod -m 666 /null c 1 3
            $busybox rm /etc/gone; $busybox mv /a /disk; touch /b; chown 1 /b
            $busybox chown 2:2 /b; chown 3 /b
            """
        ),
    )
    assert sorted(found) == ["", "/b", "/disk", "/etc", "/etc/.wh.gone", "/etc/kept", "/null"]
    disk, kept, null = found["/disk"], found["/etc/kept"], found["/null"]
    assert (disk.isfile(), disk.uid, disk.gid) == (True, 5, 6)
    assert (kept.mode, kept.uid, kept.gid) == (0o600, 7, 8)
    assert (null.ischr(), null.mode, null.devmajor, null.devminor) == (True, 0o666, 1, 3)
    assert (found["/b"].uid, found["/b"].gid) == (3, 2)


def test_what_the_sandbox_forbids_static_programs_is_an_error(library: Library) -> None:
    # Its own filter comes before all others: only programs that ask fakeroot can set these bits.
    with pytest.raises(NixError, match=r"/etc/kept: Operation not permitted(?s:.*)run_as_root"):
        library.build(f"({root_image('${pkgs.busybox}/bin/busybox chmod 4755 /etc/kept')}).layer")


def layered(library: Library, arguments: str) -> dict[str, tarfile.TarInfo]:
    """The members of a layered image's top layer."""
    image = library.build(
        f'nixdock.buildLayeredImage {{ name = "x"; compressor = "none"; {arguments} }}'
    )
    with tarfile.open(image) as archive:
        top = [m for m in archive if m.name.endswith("layer.tar")][-1]
        with tarfile.open(fileobj=archive.extractfile(top)) as tar:
            return {member.name: member for member in tar}


def test_fake_root_commands_run_in_the_tree(library: Library) -> None:
    found = layered(
        library,
        """contents = [ (pkgs.writeTextDir "etc/conf" "") ]; fakeRootCommands = ''
          [ "$(id -u)" = 0 ] && [ -L etc/conf ]
          mkdir -p home/me srv; chown 1000:1000 home/me; chmod 2775 home/me
          ${pkgs.busybox}/bin/busybox chown 5 srv; [ "$(${pkgs.busybox}/bin/busybox id -g)" = 0 ]
          mkdir -m 1777 tmp
        '';""",
    )
    assert sorted(found) == ["", "/etc", "/etc/conf", "/home", "/home/me", "/srv", "/tmp"]
    me, srv = found["/home/me"], found["/srv"]
    assert (me.mode, me.uid, me.gid) == (0o2775, 1000, 1000)
    assert (srv.uid, srv.gid) == (5, 0), "not the group that builds"
    assert found["/tmp"].mode == 0o1777


def test_fake_chroot_commands_have_the_tree_as_their_root(library: Library) -> None:
    found = layered(
        library,
        """contents = [ pkgs.busybox ]; enableFakechroot = true; fakeRootCommands = ''
          [ "$PWD" = / ] && [ -e /bin/busybox ] && [ ! -e /usr/bin/python3 ]
          [ -e "$NIX_BUILD_TOP" ]
          mkdir -p /home/me; chown 1000:1000 /home/me
          /bin/busybox chown 33 /home
        '';""",
    )
    assert (found["/home/me"].uid, found["/home"].uid) == (1000, 33)
    assert not [name for name in found if name.startswith(("/dev", "/proc", "/build", "/.nixdock"))]


@pytest.mark.parametrize(
    "image",
    [
        """nixdock.buildLayeredImage {
          name = "x"; contents = [ victim ]; enableFakechroot = true;
          fakeRootCommands = "echo changed >> /etc/conf"; }""",
        """nixdock.buildLayeredImage {
          name = "x"; contents = [ victim ]; enableFakechroot = true;
          fakeRootCommands = "rm -r ${victim}/etc"; }""",
        """nixdock.buildLayeredImage {
          name = "x"; contents = [ victim ]; fakeRootCommands = "echo changed >> etc/conf"; }""",
        """nixdock.buildLayeredImage {
          name = "x"; contents = [ victim ];
          fakeRootCommands = "${pkgs.busybox}/bin/busybox rm -r ${victim}/etc"; }""",
        """nixdock.buildImage {
          name = "x"; copyToRoot = pkgs.symlinkJoin { name = "tree"; paths = [ victim ]; };
          runAsRoot = "echo changed >> /etc/conf"; }""",
        """nixdock.buildImage {
          name = "x"; copyToRoot = [ pkgs.busybox ]; runAsRoot = "rm ${victim}/etc/conf"; }""",
    ],
)
def test_a_script_can_not_change_the_store(library: Library, image: str) -> None:
    """Not even where the user who builds owns the store, as in single-user installations."""
    victim = f'pkgs.writeTextDir "etc/conf" "{uuid4()}"'
    path = library.build(victim)
    before = path.joinpath("etc/conf").read_bytes()
    with pytest.raises(NixError, match="Read-only file system"):
        library.build(f"let victim = {victim}; in {image}")
    assert path.joinpath("etc/conf").read_bytes() == before


def test_a_script_that_fails_fails_the_build(library: Library) -> None:
    with pytest.raises(NixError, match="run_as_root failed with exit status 3"):
        library.build(f"({root_image('exit 3')}).layer")


def test_a_second_run_makes_the_same_layer(library: Library) -> None:
    image = root_image(
        """
        for i in 3 1 2; do mkdir -p /many/$i; echo $i > /many/$i/file; done
        chown -R 5:6 /many; rm -r /opt; (sleep 60; touch /late) &
        """
    )
    library.build(f"({image}).layer")
    assert members(library.build(f"({image}).layer", "--check"))["/many/3/file"].uid == 5


def test_scripts_can_be_confined_in_a_sandbox_as_well(library: Library) -> None:
    """For builders that call nixdock without --in-nix-build."""
    script = """
      [ ! -e /build/secret ]; [ -z "$secret" ]; if touch /nix/store/x; then exit 9; fi
    """
    layer = library.build(
        f"""pkgs.runCommand "layer" {{
          secret = "x"; nativeBuildInputs = [ nixdock.package pkgs.buildPackages.fakeroot ];
          spec = builtins.toJSON {{
            version = 1; name = "x"; contents = [ pkgs.busybox ]; copy_contents = true;
            extra_commands = ''{script} touch one'';
            fake_root_commands = ''{script} touch two; chown 5 two'';
            run_as_root = ''{script} touch /three; chown 6 /three'';
          }};
        }} ''
          touch secret
          printf %s "$spec" > spec.json
          nixdock top-layer spec.json -o $out
        ''"""
    )
    found = members(layer)
    assert [found[name].uid for name in ("/one", "/two", "/three")] == [0, 5, 6]
