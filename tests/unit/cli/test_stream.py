"""`nixdock stream` as a program: a docker-archive in a pipe, and errors of the pipe."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.program import PROGRAM, environment, run
from tests.unit.docker_archive import archive, layer

SampleSpec = Callable[..., Path]


def stream(
    spec: Path, *options: str, env: Mapping[str, str] | None = None, umask: int = 0o022
) -> subprocess.CompletedProcess[bytes]:
    """Run `nixdock stream` to its end."""
    done = run("stream", spec, *options, env=env, umask=umask)
    assert b"Traceback" not in done.stderr
    return done


def files(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        return {m.name: member.read() for m in tar if (member := tar.extractfile(m))}


def described(archive: bytes) -> tuple[dict[str, Any], dict[str, Any], list[bytes]]:
    """Return the entry of the archive's manifest, the config and the layers."""
    found = files(archive)
    (entry,) = json.loads(found["manifest.json"])
    return entry, json.loads(found[entry["Config"]]), [found[name] for name in entry["Layers"]]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_an_archive_and_a_line_for_each_layer(sample_spec: SampleSpec, tmp_path: Path) -> None:
    done = stream(sample_spec(tmp_path))
    assert done.returncode == 0, done.stderr
    entry, config, layers = described(done.stdout)
    assert entry["RepoTags"] == ["x/y:v1"]
    assert config["config"] == {"Cmd": ["/bin/app"]}
    assert config["rootfs"]["diff_ids"] == [digest(layer) for layer in layers]
    assert len(config["history"]) == len(layers) == 5
    lines = done.stderr.decode().splitlines()
    assert [line.split()[1] for line in lines] == [f"{i}/5" for i in range(1, 6)]
    assert [line.split()[2] for line in lines] == [
        diff_id[:19] for diff_id in config["rootfs"]["diff_ids"]
    ]


def test_quiet(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path)
    quiet = stream(spec, "--quiet")
    assert (quiet.returncode, quiet.stderr) == (0, b"")
    assert quiet.stdout == stream(spec).stdout


def test_the_same_bytes_as_build(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path)
    run("build", "-q", spec, "-o", tmp_path / "x", "--format", "docker-archive")
    assert (tmp_path / "x").read_bytes() == stream(spec).stdout


@pytest.mark.slow
@pytest.mark.parametrize("option", ["-t", "--repo_tag", "--repo-tag"])
@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("other:1.0", "other:1.0"),
        ("Registry.Example:5000/Some/Thing:V2", "registry.example:5000/some/thing:V2"),
        ("registry.example:5000/thing", "registry.example:5000/thing:latest"),
    ],
)
def test_another_name(
    sample_spec: SampleSpec, tmp_path: Path, option: str, name: str, tag: str
) -> None:
    spec = sample_spec(tmp_path)
    entry, config, _ = described(stream(spec, option, name).stdout)
    assert entry["RepoTags"] == [tag]
    assert config == described(stream(spec).stdout)[1], "only the name is another"


def test_several_names(sample_spec: SampleSpec, tmp_path: Path) -> None:
    options = ("-t", "other:1.0", "--tag", "2.0", "-t", "more", "--tag", "x:3.0")
    entry, _, _ = described(stream(sample_spec(tmp_path), *options).stdout)
    assert entry["RepoTags"] == ["other:1.0", "more:latest", "x/y:2.0", "x:3.0"]


def test_an_invalid_name(sample_spec: SampleSpec, tmp_path: Path) -> None:
    done = stream(sample_spec(tmp_path), "-t", "not a name")
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: 'not a name' is not an image name")
    assert done.stdout == b""


def test_the_environment_does_not_change_the_bytes(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path)
    expected = stream(spec).stdout
    assert expected
    for env, umask in (
        (environment(TZ="Asia/Kathmandu", PYTHONHASHSEED="1", NIX_BUILD_CORES="1"), 0o077),
        (environment(LC_ALL="C", PYTHONHASHSEED="2", NIX_BUILD_CORES="7"), 0o000),
    ):
        assert stream(spec, env=env, umask=umask).stdout == expected


def test_the_script_does_not_write_into_the_archive(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    done = stream(sample_spec(tmp_path, extra_commands="echo said"), "-q")
    assert done.returncode == 0
    assert done.stderr == b"said\n"
    assert len(described(done.stdout)[2]) == 5


# Errors.


def test_a_terminal_is_refused(sample_spec: SampleSpec, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*PROGRAM, "stream", sample_spec(tmp_path)],
        env=environment(),
        stdout=theirs,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):
        shown = os.read(ours, 100)
    os.close(ours)
    assert shown == b""
    assert done.returncode == 2
    assert b"standard output is a terminal; pipe it into `docker load`" in done.stderr


def test_a_standard_output_that_is_closed(sample_spec: SampleSpec, tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *PROGRAM, "stream", sample_spec(tmp_path)],
        env=environment(),
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert b"standard output is closed" in done.stderr


@pytest.fixture
def large_spec(sample_spec: SampleSpec, tmp_path: Path) -> Path:
    """A spec with a layer that is larger than the buffer of any pipe."""
    spec = sample_spec(tmp_path, contents=[], config={})
    file = tmp_path / "root/nix/store" / f"{'a' * 32}-libc/lib/libc.so.6"
    file.chmod(0o644)
    os.truncate(file, 1 << 30)
    return spec


def test_a_reader_that_exits_early(large_spec: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "stream", large_spec],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert len(os.read(process.stdout.fileno(), 100)) == 100
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 1
    assert err == b"error: the reader of standard output closed it before the end\n"


def test_a_full_disk(large_spec: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PROGRAM, "stream", large_spec],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr == b"error: can't write standard output: No space left on device\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cause", "status"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)],
)
def test_a_reader_that_is_stuck(
    large_spec: Path, tmp_path: Path, cause: signal.Signals, status: int
) -> None:
    """A signal ends the program even while it waits for its reader."""
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [*PROGRAM, "stream", large_spec],
        env=environment(TMPDIR=str(tmp_path / "tmp")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 100)
        time.sleep(0.2)
        process.send_signal(cause)
        assert process.wait(15) == status
    finally:
        process.kill()
        _, err = process.communicate()
    assert b"Traceback" not in err
    assert os.listdir(tmp_path / "tmp") == []


def test_a_store_that_changes_while_it_is_streamed(large_spec: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "stream", large_spec],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 100)
    file = tmp_path / "root/nix/store" / f"{'a' * 32}-libc/lib/libc.so.6"
    os.truncate(file, 1 << 20)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.startswith(f"error: {file} shrank while its layer was packed".encode())
    assert b"manifest.json" not in out, "the archive is recognisably incomplete"


# The configuration of dockerTools' stream script.


@pytest.fixture
def conf(sample_spec: SampleSpec, tmp_path: Path) -> dict[str, Any]:
    """The configuration that dockerTools passes to its stream script, for a temporary store."""
    store = tmp_path / "root/nix/store"
    subprocess.run(
        [*PROGRAM, "top-layer", sample_spec(tmp_path), "-o", tmp_path / "top"],
        env=environment(),
        check=True,
    )
    libc, script, link, app = sorted(str(path) for path in store.iterdir())
    return {
        "repo_tag": "Some/Image:Tag",
        "architecture": "arm64",
        "os": "linux",
        "variant": None,
        "config": {"Cmd": ["/bin/app"], "Env": ["A=1"]},
        "store_dir": str(store),
        "from_image": None,
        "store_layers": [[libc], [script, link], [app]],
        "customisation_layer": str(tmp_path / "top"),
        "created": "2001-02-03T04:05:06+00:00",
        "mtime": "1970-01-01T00:00:07Z",
        "uid": "1000",
        "gid": "100",
        "uname": "user",
        "gname": "users",
    }


def by_tarfile(conf: Mapping[str, Any], paths: list[str]) -> bytes:
    """Return a store layer as dockerTools' script writes it, with all parents of the store."""

    def owned(member: tarfile.TarInfo, name: str) -> tarfile.TarInfo:
        member.name = name
        member.mtime, member.uid, member.gid = 7, 1000, 100
        member.uname, member.gname = "user", "users"
        return member

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w|", encoding="utf-8") as tar:
        for parent in [*reversed(Path(conf["store_dir"]).parents), Path(conf["store_dir"])][1:]:
            member = owned(tarfile.TarInfo(), str(parent))
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for path in map(Path, paths):
            for file in sorted([path] if path.is_symlink() else [path, *path.rglob("*")]):
                tar.inodes = {}  # type: ignore[attr-defined]
                member = owned(tar.gettarinfo(file), str(file))
                if member.isreg():
                    with file.open("rb") as content:
                        tar.addfile(member, content)
                else:
                    tar.addfile(member)
    return out.getvalue()


def test_the_configuration_of_docker_tools(conf: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "conf.json").write_text(json.dumps(conf))
    done = stream(tmp_path / "conf.json")
    assert done.returncode == 0, done.stderr
    entry, config, layers = described(done.stdout)
    assert entry["RepoTags"] == ["some/image:Tag"]
    *store_layers, top_layer = layers
    assert store_layers == [by_tarfile(conf, paths) for paths in conf["store_layers"]]
    assert top_layer == (tmp_path / "top" / "layer.tar").read_bytes()
    assert config["rootfs"]["diff_ids"] == [digest(layer) for layer in layers]
    assert config["architecture"] == "arm64"
    assert config["created"] == "2001-02-03T04:05:06Z"
    assert config["config"] == conf["config"]
    named = stream(tmp_path / "conf.json", "-t", "x:y")
    assert described(named.stdout)[0]["RepoTags"] == ["x:y"]


def test_now(conf: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "conf.json").write_text(json.dumps(conf | {"created": "now", "mtime": "now"}))
    before = int(time.time())
    _, config, layers = described(stream(tmp_path / "conf.json").stdout)
    after = int(time.time())
    with tarfile.open(fileobj=io.BytesIO(layers[0])) as tar:
        times = {member.mtime for member in tar}
    assert len(times) == 1
    assert before <= times.pop() <= after
    assert config["created"].startswith("20")


def test_a_changed_customisation_layer(conf: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "conf.json").write_text(json.dumps(conf))
    (tmp_path / "top" / "checksum").write_text("0" * 64)
    done = stream(tmp_path / "conf.json", "-q")
    assert done.returncode == 1
    assert f"not sha256:{'0' * 64}".encode() in done.stderr


def test_the_base_image_of_a_configuration(conf: dict[str, Any], tmp_path: Path) -> None:
    base = archive(tmp_path / "base.tar", [layer(("etc/base", "x"))], architecture="arm64")
    (tmp_path / "conf.json").write_text(json.dumps(conf | {"from_image": str(base)}))
    done = stream(tmp_path / "conf.json")
    assert done.returncode == 0, done.stderr
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        first = tar.extractfile("000/layer.tar")
        assert first is not None
        assert first.read() == layer(("etc/base", "x"))


def test_a_missing_base_image(conf: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "conf.json").write_text(json.dumps(conf | {"from_image": "/nowhere.tar"}))
    done = stream(tmp_path / "conf.json")
    assert done.returncode == 2
    message = f"error: {tmp_path}/conf.json: can't open /nowhere.tar: No such file or directory\n"
    assert done.stderr.decode() == message
