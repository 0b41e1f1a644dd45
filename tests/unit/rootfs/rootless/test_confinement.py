"""What scripts can't do outside of Nix builds, and what they still can."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nixdock.build.build import prepared_top_layer
from nixdock.errors import ScriptError
from nixdock.rootfs.confinement import Confinement
from nixdock.rootfs.rootless import namespaces
from nixdock.rootfs.rootless.failure import EnterError
from nixdock.rootfs.rootless.script_root import inner_environment
from nixdock.rootfs.scripts import run_script
from nixdock.spec.reading import read_spec

pytestmark = pytest.mark.runtime

KEYS = ("extra_commands", "fake_root_commands", "run_as_root")
IN_A_DIRECTORY = KEYS[:2]
STORE_PATH = f"/nix/store/{'e' * 32}-evil"

ESCAPE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Leave a root by the oldest way, in a user namespace of its own if asked; then read a file. */
int main(int count, char **arguments) {
    char text[100] = "";
    int file, i;
    if (strcmp(arguments[1], "namespace") == 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS))
        perror("unshare");
    if (umount2("/dev", MNT_DETACH) == 0) puts("unmounted /dev");
    if (umount2("/nix/store", MNT_DETACH) == 0) puts("unmounted the store");
    if (mount("none", "/proc", NULL, MS_REMOUNT | MS_BIND, NULL) == 0) puts("writable /proc");
    mkdir("/esc", 0755);
    if (chroot("/esc")) perror("chroot");
    for (i = 0; i < 60; i++) if (chdir("..")) perror("chdir");
    if (chroot(".")) perror("chroot");
    file = open(arguments[2], O_RDONLY);
    if (file >= 0 && read(file, text, 99) > 0) printf("escaped: %s\n", text);
    return 0;
}
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A tree with a static shell, and a static program that tries to leave its root."""
    directory = tmp_path / "tools/bin"
    directory.mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None, "install busybox-static"
    shutil.copy(busybox, directory)
    for name in ("sh", "cat", "chmod", "grep", "ls", "mkdir", "tee", "touch", "wc"):
        (directory / name).symlink_to("busybox")
    (tmp_path / "escape.c").write_text(ESCAPE)
    command = ["gcc", "-static", "-o", str(directory / "escape"), str(tmp_path / "escape.c")]
    subprocess.run(command, check=True)
    return directory.parent


def write_spec(tmp_path: Path, tools: Path | None, **keys: str) -> Path:
    document = {"version": 1, "name": "x", **keys}
    if tools is not None:
        document |= {"contents": [str(tools)], "copy_contents": True}
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(document))
    return file


def made(tmp_path: Path, tools: Path | None = None, **keys: str) -> dict[str, tarfile.TarInfo]:
    """The members of the top layer of a spec with `keys`."""
    out = io.BytesIO()
    with prepared_top_layer(read_spec(write_spec(tmp_path, tools, **keys))) as source:
        source.pack(out.write)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        return {member.name: member for member in tar if member.name}


def nixdock(
    tmp_path: Path, spec: Path, *options: str, within: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `nixdock top-layer`, as the last command of the shell script `within` if it is given."""
    command = [sys.executable, "-m", "nixdock", "top-layer", str(spec), *options]
    command += ["-o", str(tmp_path / "out")]
    if within:
        command = ["sh", "-ec", f"{within} {shlex.join(command)}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("key", KEYS)
def test_a_script_writes_only_its_directory(tmp_path: Path, tools: Path, key: str) -> None:
    (tmp_path / "outside").mkdir()
    places = [str(tmp_path / "outside"), "/nix/store", "/proc/sys/kernel", "/sys"]
    if key != "run_as_root":
        places += ["/etc", "/usr", "/usr/bin", "/", "/.nixdock", "/homeless-shelter"]
    script = "mkdir -p /tmp; touch /tmp/mine mine\n"
    script += "".join(f"if touch {place}/nixdock-test; then exit 9; fi\n" for place in places)
    found = made(tmp_path, tools, **{key: script})
    assert "/mine" in found
    assert ("/tmp/mine" in found) == (key == "run_as_root"), "/tmp is the script's own"
    assert not list((tmp_path / "outside").iterdir())
    assert not any(Path(place, "nixdock-test").exists() for place in places)


@pytest.mark.parametrize("has_store", [False, True])
def test_a_script_can_not_have_files_removed_elsewhere(
    tmp_path: Path, tools: Path, has_store: bool
) -> None:
    """By a link in the place of the mount points that are removed after it."""
    store = tmp_path / "victim/store"
    store.mkdir(parents=True)
    if has_store:
        (tools / "nix/store").mkdir(parents=True)
        (tools / "nix/store/own").touch()
        for path in [*Path("/nix/store").iterdir()][:9]:
            (store / path.name).touch()
    before = [*store.iterdir()]
    made(tmp_path, tools, run_as_root=f"busybox mv /nix /old; busybox ln -s {store.parent} /nix")
    assert [*store.iterdir()] == before


@pytest.mark.parametrize("key", KEYS)
def test_a_script_sees_nothing_of_its_caller(
    tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("NIXDOCK_TEST_TOKEN", "a secret")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    # `nix develop` sets it as well: it does not mean that Nix confines the script.
    monkeypatch.setenv("NIX_BUILD_TOP", str(tmp_path))
    script = f"""
      if cat /proc/[0-9]*/environ | grep NIXDOCK_TEST_TOKEN; then exit 9; fi
      [ "$HOME $TMPDIR $SOURCE_DATE_EPOCH" = "/homeless-shelter /tmp 7" ]
      [ ! -e {tmp_path} ]
      [ -z "${{NIX_BUILD_TOP:-}}" ]
      [ "$(ls -d /proc/[0-9]* | wc -l)" -le 6 ]
      [ "$(grep -c : /proc/net/dev)" = 1 ]
      [ ! -e /dev/kmsg ]; [ ! -e /dev/mem ]; [ -c /dev/null ]
      echo x > /dev/null
      echo x > /dev/shm/x
    """
    made(tmp_path, tools, **{key: script})


def test_a_script_has_no_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect = f"exec 3<> /dev/tcp/127.0.0.1/{server.getsockname()[1]}"
        made(tmp_path, extra_commands=f"if ({connect}); then exit 9; fi")
        with socket.create_connection(server.getsockname()):
            pass


@pytest.fixture
def shared_memory() -> Iterator[str]:
    """The ID of shared memory outside."""
    made = subprocess.run(["ipcmk", "-M", "1"], capture_output=True, text=True, check=True)
    number = made.stdout.split()[-1]
    yield number
    subprocess.run(["ipcrm", "-m", number], check=True)


@pytest.mark.parametrize("key", KEYS)
def test_a_script_has_its_own_shared_memory(
    tmp_path: Path, tools: Path, shared_memory: str, key: str
) -> None:
    assert shared_memory in Path("/proc/sysvipc/shm").read_text()
    made(tmp_path, tools, **{key: '[ "$(cat /proc/sysvipc/shm | wc -l)" = 1 ]'})


WITH_A_KEY = """
import ctypes, os, sys
add_key, keyctl = {"x86_64": (248, 250), "aarch64": (217, 219)}[os.uname().machine]
libc = ctypes.CDLL(None)
libc.syscall(keyctl, 1, None)
assert libc.syscall(add_key, b"user", b"nixdock-test-key", b"x", 1, -3) > 0
assert "nixdock-test-key" in open("/proc/keys").read()
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("key", IN_A_DIRECTORY)
def test_a_script_can_not_read_the_keys_of_the_session(tmp_path: Path, key: str) -> None:
    # KEYCTL_READ is 11. The key may be listed, but it must not be read.
    number = {"x86_64": 250, "aarch64": 219}[os.uname().machine]
    read = f'$text = "0" x 9; exit(syscall({number}, 11, hex($ARGV[0]), $text, 8) < 0 ? 0 : 9)'
    script = f"perl -e '{read}' \"$(grep nixdock-test-key /proc/keys | cut -c 1-8)\""
    within = shlex.join([sys.executable, "-c", WITH_A_KEY])
    done = nixdock(tmp_path, write_spec(tmp_path, None, **{key: script}), within=within)
    assert done.returncode == 0, done.stderr


def test_an_ordinary_script_has_no_rights(tmp_path: Path) -> None:
    made(
        tmp_path,
        extra_commands="""
          [ "$(id -u):$(id -g) $(pwd)" = "1000:100 /build" ]
          grep 'CapEff:.0000000000000000' /proc/self/status
          grep 'NoNewPrivs:.1' /proc/self/status
        """,
    )


@pytest.mark.parametrize("key", KEYS[1:])
def test_devices_of_the_machine_keep_their_modes(tmp_path: Path, tools: Path, key: str) -> None:
    mode = os.stat("/dev/full").st_mode  # noqa: PTH116
    made(tmp_path, tools, **{key: f"{tools}/bin/chmod 600 /dev/full || chmod 600 /dev/full || :"})
    assert os.stat("/dev/full").st_mode == mode  # noqa: PTH116


@pytest.mark.parametrize("way", ["directly", "namespace"])
@pytest.mark.parametrize("static", ["0", "1"])
def test_a_static_program_can_not_leave_its_root(
    tmp_path: Path,
    tools: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    static: str,
) -> None:
    monkeypatch.setenv("NIXDOCK_STATIC_PROGRAMS", static)
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    made(tmp_path, tools, run_as_root=f"/bin/escape {way} {secret}")
    errors = capfd.readouterr().err
    assert "chroot: " in errors or way == "namespace"
    for success in ("escaped", "unmounted", "writable"):
        assert success not in errors


# Systems that do not allow it.

NO_NAMESPACES = (
    "unshare --user --map-root-user sh -ec"
    " 'echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"' sh"
)
REFUSED = (
    "{key}: the system allows no user namespace: No space left on device; change it with sysctl:"
    " user.max_user_namespaces is 0"
)


@pytest.mark.parametrize("key", IN_A_DIRECTORY)
def test_a_script_that_can_not_be_confined(tmp_path: Path, key: str) -> None:
    spec = write_spec(tmp_path, None, **{key: f"touch made; ls {tmp_path}/spec.json"})
    refused = nixdock(tmp_path, spec, within=NO_NAMESPACES)
    assert refused.returncode == 1
    assert refused.stderr == (
        f"error: {REFUSED.format(key=key)}; scripts run only where they can be confined, unless"
        " --allow-unconfined-scripts gives them all of your rights\n"
    )
    allowed = nixdock(tmp_path, spec, "--allow-unconfined-scripts", within=NO_NAMESPACES)
    assert allowed.returncode == 0, allowed.stderr
    assert (
        f"warning: {REFUSED.format(key=key)}; the script runs unconfined, with all of your rights\n"
        in allowed.stderr
    )
    assert f"{tmp_path}/spec.json\n" in allowed.stderr
    with tarfile.open(tmp_path / "out/layer.tar") as tar:
        assert "/made" in tar.getnames()


def test_a_root_script_needs_namespaces_even_if_it_is_not_confined(
    tmp_path: Path, tools: Path
) -> None:
    spec = write_spec(tmp_path, tools, run_as_root=":")
    for options in ([], ["--allow-unconfined-scripts"]):
        refused = nixdock(tmp_path, spec, *options, within=NO_NAMESPACES)
        assert refused.returncode == 1
        assert refused.stderr == f"error: {REFUSED.format(key='run_as_root')}\n"


@pytest.mark.parametrize("key", KEYS)
def test_a_script_is_confined_although_it_need_not_be(
    tmp_path: Path, tools: Path, key: str
) -> None:
    spec = write_spec(tmp_path, tools, **{key: f"[ ! -e {tmp_path} ]"})
    done = nixdock(tmp_path, spec, "--allow-unconfined-scripts")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr


@pytest.mark.parametrize("key", KEYS)
def test_a_system_without_other_namespaces(tmp_path: Path, tools: Path, key: str) -> None:
    spec = write_spec(tmp_path, tools, **{key: "touch made"})
    within = NO_NAMESPACES.replace("max_user", "max_net")
    refused = nixdock(tmp_path, spec, within=within)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: {key}: the system allows no user namespace: ")
    assert "Traceback" not in refused.stderr
    allowed = nixdock(tmp_path, spec, "--allow-unconfined-scripts", within=within)
    assert (allowed.returncode == 0) == (key != "run_as_root"), allowed.stderr


@pytest.mark.parametrize("key", KEYS)
def test_where_no_new_proc_may_be_mounted(tmp_path: Path, tools: Path, key: str) -> None:
    """As in containers, which hide parts of /proc."""
    script = """
      [ -e /proc/self/status ]; [ -e /proc/sys/kernel/hostname ]
      grep ' /proc proc ro,' /proc/mounts
      if echo x > /proc/sys/kernel/hostname; then exit 9; fi
    """
    hide = 'mount -t tmpfs none /proc/fs; exec "$@"'
    within = f"unshare --user --map-root-user --mount sh -ec {shlex.quote(hide)} sh"
    done = nixdock(tmp_path, write_spec(tmp_path, tools, **{key: script}), within=within)
    assert done.returncode == 0, done.stderr


def test_a_system_that_is_not_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespaces, "_LIBC", object())
    with pytest.raises(EnterError, match="only Linux has the namespaces") as caught:
        namespaces.enter_user_namespace(0, (1, 1))
    assert caught.value.refused


# Other callers.


@pytest.mark.parametrize("key", KEYS)
def test_an_ordinary_user(tmp_path: Path, tools: Path, key: str) -> None:
    script = """
      touch mine; [ ! -e /root ]
      if touch /nix/store/nixdock-test; then exit 9; fi
      if echo x > /proc/sys/kernel/hostname; then exit 9; fi
    """
    # Its files are those of this test's user, so that it can read this program.
    within = "unshare --user --map-user=1234 --map-group=1234"
    spec = write_spec(tmp_path, tools, **{key: script})
    done = nixdock(tmp_path, spec, within=f"{within} sh -ec '[ $(id -u) = 1234 ]; exec \"$@\"' sh")
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "out/layer.tar") as tar:
        assert "/mine" in tar.getnames()


@pytest.mark.parametrize("key", IN_A_DIRECTORY)
def test_in_a_nix_build_scripts_are_left_to_nix(tmp_path: Path, key: str) -> None:
    (tmp_path / "stdenv").mkdir()
    (tmp_path / "stdenv/setup").write_text('greet() { echo "hello $user"; }\n')
    spec = write_spec(tmp_path, None, **{key: f"greet > greeting; [ -e {tmp_path} ]"})
    within = f"env stdenv={tmp_path}/stdenv user=you"
    done = nixdock(tmp_path, spec, "--in-nix-build", within=within)
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "out/layer.tar") as tar:
        file = tar.extractfile("/greeting")
        assert file is not None
        assert file.read() == b"hello you\n"


# The search path.


def test_only_directories_that_a_script_sees_are_in_its_path(tmp_path: Path) -> None:
    bin_directory = Path(os.path.realpath("/usr/bin"))
    (tmp_path / "profile").symlink_to(bin_directory)
    (tmp_path / "own").mkdir()
    path = f"{tmp_path}/own:{tmp_path}/profile:/usr/bin::/binary:/nix/store/x/bin"
    outer = {"PATH": path, "SECRET": "x"}
    environment = inner_environment("/nix/store", outer, own_root=False)
    assert environment["PATH"] == f"{bin_directory}:/nix/store/x/bin"
    assert "SECRET" not in environment
    own = inner_environment("/nix/store", outer, own_root=True)
    assert own["PATH"] == "/nix/store/x/bin"


def test_a_store_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("x")
    (tmp_path / "store").symlink_to("real")
    store = str(tmp_path / "store")
    environment = inner_environment(store, {"PATH": f"{tmp_path}/real/bin"}, own_root=False)
    assert environment["PATH"] == f"{store}/bin"
    script = f"[ -e {store}/file ]; if touch {store}/new; then exit 9; fi"
    (tmp_path / "tree").mkdir()
    run_script(script, tmp_path / "tree", store_dir=store)


def test_no_visible_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sh").write_text("#!/bin/sh\n")
    (tmp_path / "sh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ScriptError, match=r"neither bash nor sh .* that scripts see"):
        made(tmp_path, extra_commands="true")


def test_the_confinement_has_a_name_in_python() -> None:
    assert [str(value) for value in Confinement] == ["required", "preferred", "nix-build"]
