"""`nixdock build` as a program: its output, messages and exit statuses."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from nixdock import inspect_image, verify_image
from tests.unit.cli.program import PROGRAM, enlarge, environment, run, run_text

SampleSpec = Callable[..., Path]

FORMATS = ["archive", "docker-archive", "oci-archive", "oci-layout"]
COMPRESSIONS = ["none", "gzip", "zstd"]


def build(
    spec: Path | str,
    target: Path | None,
    *options: str,
    env: Mapping[str, str] | None = None,
    umask: int = 0o022,
    stdin: bytes = b"",
) -> subprocess.CompletedProcess[str]:
    """Run `nixdock build` to its end."""
    output = [] if target is None else ["-o", str(target)]
    arguments = ["build", spec, *output, *options]
    done = run_text(*arguments, env=env, umask=umask, stdin=stdin.decode())
    assert "Traceback" not in done.stderr
    return done


def contents(target: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of all files in a directory by their names."""
    if target.is_file():
        return {"": target.read_bytes()}
    found = [path for path in target.rglob("*") if path.is_file()]
    return {str(path.relative_to(target)): path.read_bytes() for path in found}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_form(sample_spec: SampleSpec, tmp_path: Path, form: str, compression: str) -> None:
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "image"
    done = build(sample_spec(tmp_path), target, "--format", form, "--compression", compression)
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path / "out") == ["image"]
    assert done.stdout.startswith("sha256:")
    assert done.stdout.count("\n") == 1
    lines = done.stderr.splitlines()
    assert sorted(line.split()[1] for line in lines) == [f"{i}/5" for i in range(1, 6)]
    assert all(line.startswith("layer ") and " sha256:" in line for line in lines)
    assert any(line.endswith("1 store path: libc") for line in lines)
    files = contents(target)
    if form == "oci-layout":
        (listed,) = json.loads(files["index.json"])["manifests"]
        assert done.stdout == f"{listed['digest']}\n"
        assert f"blobs/sha256/{listed['digest'][7:]}" in files
    elif form != "docker-archive":
        with tarfile.open(target) as tar:
            assert f"blobs/sha256/{done.stdout.strip()[7:]}" in tar.getnames()
    elif compression != "zstd":
        with tarfile.open(target) as tar:
            assert f"{done.stdout.strip()[7:]}.json" in tar.getnames()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "compression"),
    [
        ("archive", "gzip"),
        ("oci-archive", "gzip"),
        ("oci-layout", "gzip"),
        ("docker-archive", "none"),
    ],
)
def test_layers_are_compressed_by_default(
    sample_spec: SampleSpec, tmp_path: Path, form: str, compression: str
) -> None:
    spec = sample_spec(tmp_path)
    default = build(spec, tmp_path / "default", "--format", form)
    named = build(spec, tmp_path / "named", "--format", form, "--compression", compression)
    assert contents(tmp_path / "default") == contents(tmp_path / "named")
    dry_run = build(spec, None, "--dry-run", "--format", form)
    assert dry_run.stdout.split()[-1] == default.stdout.strip() == named.stdout.strip()


def test_the_default_format_is_the_archive(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path)
    build(spec, tmp_path / "default")
    build(spec, tmp_path / "named", "--format", "archive")
    assert contents(tmp_path / "default") == contents(tmp_path / "named")


@pytest.mark.slow
def test_quiet(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path)
    for option in ("--quiet", "-q"):
        done = build(spec, tmp_path / "x", option)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("sha256:")


@pytest.mark.slow
def test_a_dry_run_prints_all_digests_and_writes_nothing(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    spec = sample_spec(tmp_path)
    before = sorted(os.listdir(tmp_path))
    dry = build(spec, None, "--dry-run", "--compression", "gzip")
    assert dry.returncode == 0, dry.stderr
    assert build(spec, tmp_path / "x", "--dry-run", "--compression", "gzip").stdout == dry.stdout
    assert sorted(os.listdir(tmp_path)) == before
    done = build(spec, tmp_path / "x", "--format", "oci-layout", "--compression", "gzip")
    *layers, image = dry.stdout.splitlines()
    assert done.stdout == f"{image}\n"
    manifest = json.loads((tmp_path / "x/blobs/sha256" / image[7:]).read_text())
    assert layers == [f"{layer['digest']} {layer['size']}" for layer in manifest["layers"]]


@pytest.mark.slow
def test_the_spec_from_standard_input(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path, closure={"graph": str(tmp_path / "graph.json")})
    done = build("-", tmp_path / "x", stdin=spec.read_bytes())
    assert done.returncode == 0, done.stderr
    assert done.stdout == build(spec, tmp_path / "y").stdout


def test_warnings_go_to_standard_error(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path, config={"Cmd": "x", "Nonsense": 1})
    done = build(spec, tmp_path / "x", "-q")
    assert done.returncode == 0
    warning = "config.Nonsense is passed on, but no image specification defines it"
    assert done.stderr == f"warning: {warning}\n"


@pytest.mark.parametrize("form", FORMATS)
def test_several_names(sample_spec: SampleSpec, tmp_path: Path, form: str) -> None:
    """They are in the image, in the JSON, and in what is to be done next."""
    spec, target = sample_spec(tmp_path, extra_tags=["unused"]), tmp_path / "image"
    options = ("--tag", "v2", "--tag", "Other:v1", "--tag", "v3", "--tag", "v2")
    done = build(spec, target, "--format", form, "--json", "-q", *options)
    assert done.returncode == 0, done.stderr
    names = ["x/y:v2", "other:v1", "x/y:v3"]
    assert json.loads(done.stdout)["tags"] == names
    assert not verify_image(target).problems
    (image,) = inspect_image(target).images
    assert list(image.tags) == names


# Errors.


def test_the_metadata_can_not_be_within_the_image(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec, target = sample_spec(tmp_path), tmp_path / "layout"
    for file in (target, target / "metadata.json"):
        done = build(spec, target, "--format", "oci-layout", "--metadata-file", str(file))
        assert done.returncode == 2
        assert "the file for the metadata can't be within the image" in done.stderr
    assert not target.exists()
    missing = tmp_path / "none/metadata.json"
    done = build(spec, target, "--format", "oci-layout", "--metadata-file", str(missing))
    assert done.returncode == 1
    assert not target.exists(), "before anything is built"


def test_an_output_is_needed(sample_spec: SampleSpec, tmp_path: Path) -> None:
    done = build(sample_spec(tmp_path), None)
    assert done.returncode == 2
    assert "no output: give one with -o" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"version": 2}, 2, "version"),
        ({"contents": ["/nix/store/missing"]}, 2, "/nix/store/missing does not exist"),
        ({"extra_commands": "exit 3"}, 1, "extra_commands failed with exit status 3"),
        ({"closure": {"graph": "none.json"}}, 2, "none.json: No such file"),
        ({"max_layers": 1}, 2, "max_layers is 1"),
        ({"store": {"root": "/none"}, "contents": []}, 1, "does not exist; build or copy it"),
    ],
)
def test_invalid_input(
    sample_spec: SampleSpec,
    tmp_path: Path,
    changes: dict[str, object],
    status: int,
    message: str,
) -> None:
    (tmp_path / "out").mkdir()
    done = build(sample_spec(tmp_path, **changes), tmp_path / "out" / "x")
    assert done.returncode == status
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert message in done.stderr
    assert done.stdout == ""
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.slow
@pytest.mark.parametrize("text", ["soon", "-1", "1.5", " 1", "\u0661"])
def test_an_invalid_source_date_epoch(sample_spec: SampleSpec, tmp_path: Path, text: str) -> None:
    env = environment(SOURCE_DATE_EPOCH=text)
    done = build(sample_spec(tmp_path), tmp_path / "x", env=env)
    assert done.returncode == 2
    assert "SOURCE_DATE_EPOCH" in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_a_full_disk(sample_spec: SampleSpec, tmp_path: Path, form: str) -> None:
    """The target is in a file system of 2 MB, which disappears with the process that mounts it."""
    spec = sample_spec(
        tmp_path, extra_commands="for i in 1 2 3 4; do head -c 1000000 /dev/urandom > $i; done"
    )
    (tmp_path / "small").mkdir()
    unshare = shutil.which("unshare")
    assert unshare is not None, "unshare is not installed; on Debian: apt-get install util-linux"
    become_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    script = """
        mount -t tmpfs -o size=2m none "$1" || exit 99
        target=$1; shift
        "$@"; status=$?
        ls -A "$target"
        exit $status
    """
    done = subprocess.run(
        [
            *(unshare, "--mount", *become_root, "sh", "-c", script, "sh", f"{tmp_path}/small"),
            *(*PROGRAM, "build", "-q", str(spec), "-o", f"{tmp_path}/small/x", "--format", form),
        ],
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    message = done.stderr.decode()
    assert message.startswith("error: can't write ")
    assert message.endswith(": No space left on device\n")
    assert message.count("\n") == 1
    assert done.stdout == b"", "nothing is left behind"


@pytest.fixture
def slow_spec(sample_spec: SampleSpec, tmp_path: Path) -> Path:
    """A spec with layers of sparse files: they take seconds to compress, but no disk space."""
    spec = sample_spec(tmp_path, contents=[], extra_commands="", config={})
    enlarge(tmp_path, "libc", "lib/libc.so.6", 12 << 30)
    enlarge(tmp_path, "app", "bin/app", 12 << 30)
    return spec


def workers_of(process: int) -> list[int]:
    """Return the IDs of the children of a process."""
    children = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in children.read_text().split()]


def runs(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@contextmanager
def under_way(
    spec: Path, target: Path, cores: int, *options: str, new_group: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """Give a build that is writing its blobs, and the IDs of its worker processes."""
    process = subprocess.Popen(
        [*PROGRAM, "build", spec, "-o", target, "--compression", "gzip", *options],
        env=environment(NIX_BUILD_CORES=str(cores)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0 if new_group else None,
    )
    try:
        until(
            lambda: any(
                path.is_file() and path.stat().st_size for path in target.parent.rglob("*")
            ),
            "nothing is written",
        )
        assert process.poll() is None
        yield process, workers_of(process.pid)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["archive", "oci-layout"])
@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize(
    ("cause", "status"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)],
)
def test_a_build_that_is_terminated(
    slow_spec: Path, tmp_path: Path, form: str, cores: int, cause: signal.Signals, status: int
) -> None:
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "x"
    with under_way(slow_spec, target, cores, "--format", form) as (process, workers):
        assert len(workers) == (2 if cores == 2 else 0)
        process.send_signal(cause)
        _, err = process.communicate(timeout=30)
    assert process.returncode == status
    end = b"interrupted" if cause == signal.SIGINT else b"terminated"
    assert err.splitlines()[-1] == b"error: " + end
    assert b"Traceback" not in err
    assert os.listdir(tmp_path / "out") == []
    assert not any(map(runs, workers))


@pytest.mark.slow
def test_a_terminal_that_is_closed(slow_spec: Path, tmp_path: Path) -> None:
    """The terminal sends its signals to all processes of the group, and often several."""
    (tmp_path / "out").mkdir()
    signals = [signal.SIGHUP, signal.SIGTERM, signal.SIGHUP]
    with under_way(slow_spec, tmp_path / "out" / "x", 2, new_group=True) as (process, workers):
        for number in signals:
            os.killpg(process.pid, number)
        process.communicate(timeout=30)
    assert process.returncode in {129, 143}
    assert os.listdir(tmp_path / "out") == []
    assert not any(map(runs, workers))


@pytest.mark.slow
def test_nohup(slow_spec: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with under_way(slow_spec, tmp_path / "out" / "x", 2) as (process, _):
            process.send_signal(signal.SIGHUP)
            time.sleep(0.5)
            assert process.poll() is None
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["archive", "docker-archive", "oci-layout"])
def test_a_build_that_is_killed(slow_spec: Path, tmp_path: Path, form: str) -> None:
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "x"
    with under_way(slow_spec, target, 2, "--format", form) as (process, workers):
        process.kill()
        process.communicate(timeout=30)
        until(lambda: not any(map(runs, workers)), "workers outlive their parent")
    assert not target.exists()
    leftovers = list((tmp_path / "out").iterdir())
    assert leftovers, "nobody could remove the temporary files"
    with under_way(slow_spec, target, 2, "--format", form) as (process, _):
        until(lambda: not any(path.exists() for path in leftovers), "they are not removed")
        process.terminate()
        process.communicate(timeout=30)
    assert os.listdir(tmp_path / "out") == []


@pytest.mark.slow
@pytest.mark.parametrize("before", [None, b"old"])
def test_a_worker_that_is_killed(slow_spec: Path, tmp_path: Path, before: bytes | None) -> None:
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "x"
    if before is not None:
        target.write_bytes(before)
    spec = slow_spec
    process = subprocess.Popen(
        [*PROGRAM, "build", "-q", spec, "-o", target],
        env=environment(NIX_BUILD_CORES="2"),
        stderr=subprocess.PIPE,
    )
    with suppress(FileNotFoundError):
        until(lambda: workers_of(process.pid), "no workers")
        os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert (
        err == b"error: a worker process was killed while packing a layer;"
        b" the machine may be out of memory\n"
    )
    assert os.listdir(tmp_path / "out") == ([] if before is None else ["x"])
    assert before is None or target.read_bytes() == before


# Reproducibility.


def reordered(source: Path, target: Path, *, linked: bool) -> None:
    """Copy `source` to `target` in the reverse order, with equal files hard-linked."""
    target.mkdir()
    seen: dict[tuple[int, bytes], Path] = {}
    for path in sorted(source.iterdir(), reverse=True):
        copy = target / path.name
        if path.is_symlink():
            copy.symlink_to(os.readlink(path))
        elif path.is_dir():
            reordered(path, copy, linked=linked)
        else:
            key = (path.stat().st_mode, path.read_bytes())
            if linked and key in seen:
                os.link(seen[key], copy)
            else:
                shutil.copy2(path, copy)
            seen[key] = copy
    target.chmod(source.stat().st_mode)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "compression"),
    [("archive", "none"), ("archive", "gzip"), ("docker-archive", "gzip"), ("oci-layout", "zstd")],
)
def test_the_environment_does_not_change_the_bytes(
    sample_spec: SampleSpec, tmp_path: Path, form: str, compression: str
) -> None:
    script = "mkdir -m 1777 tmp; echo 'größe' > größe; date -d @0 +%p > /dev/null"
    spec = sample_spec(tmp_path, extra_commands=script)
    options = ("-q", "--format", form, "--compression", compression)
    expected = build(spec, tmp_path / "expected", *options)
    assert expected.returncode == 0, expected.stderr
    surroundings = [
        (0o077, {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "1"}),
        (0o000, {"LC_ALL": "C", "NIX_BUILD_CORES": "1", "PYTHONHASHSEED": "2"}),
        (0o022, {"LANG": "POSIX", "NIX_BUILD_CORES": "2", "TZ": "America/St_Johns"}),
        # Python then decodes file names as ASCII.
        (0o022, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        (0o027, {"NIX_BUILD_CORES": "7"}),
    ]
    for umask, variables in surroundings:
        env = environment(**variables)
        done = build(spec, tmp_path / "again", *options, env=env, umask=umask)
        assert done.returncode == 0, done.stderr
        assert done.stdout == expected.stdout, variables
        assert contents(tmp_path / "again") == contents(tmp_path / "expected"), variables


def test_names_of_files_in_specs_are_in_utf_8_in_every_locale(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    (tmp_path / "größe").mkdir()
    (tmp_path / "größe/file").write_text("content")
    script = "echo ${PYTHONIOENCODING-none} > encoding"
    spec = sample_spec(tmp_path, contents=["größe"], copy_contents=True, extra_commands=script)
    output = tmp_path / "größe.tar"
    expected = build(spec, output, "-q")
    assert expected.returncode == 0, expected.stderr
    # Python then decodes and encodes file names as ASCII.
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for variables in (ascii_only, ascii_only | {"PYTHONIOENCODING": "latin-1"}):
        done = build(spec, output, "-q", env=environment(**variables))
        assert (done.returncode, done.stderr) == (0, expected.stderr)
        assert done.stdout == expected.stdout


def test_the_encoding_of_the_terminal_stays_that_of_the_locale(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    output = tmp_path / "image"
    build(sample_spec(tmp_path), output)
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run("inspect", output, env=environment(**ascii_only))
    assert done.returncode == 0, done.stderr
    # A terminal with UTF-8 gets bars of blocks.
    assert b" ##" in done.stdout
    assert done.stdout.isascii()


@pytest.mark.parametrize("linked", [False, True])
def test_the_stores_order_and_links_do_not_change_the_bytes(
    sample_spec: SampleSpec, tmp_path: Path, *, linked: bool
) -> None:
    build(sample_spec(tmp_path), tmp_path / "expected")
    reordered(tmp_path / "root", tmp_path / "other", linked=linked)
    share = tmp_path / "other/nix/store" / f"{'a' * 32}-libc/share"
    assert (share / "one").stat().st_nlink == (2 if linked else 1)
    spec = sample_spec(tmp_path, store={"root": str(tmp_path / "other")})
    done = build(spec, tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "again") == contents(tmp_path / "expected")


def test_the_graphs_order_does_not_change_the_bytes(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    spec = sample_spec(tmp_path)
    build(spec, tmp_path / "expected")
    graph = json.loads((tmp_path / "graph.json").read_text())
    (tmp_path / "graph.json").write_text(json.dumps(graph[::-1]))
    build(spec, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(tmp_path / "expected")


def test_the_times_that_are_source_date_epoch(sample_spec: SampleSpec, tmp_path: Path) -> None:
    spec = sample_spec(tmp_path)
    seconds = 1_600_000_000
    env = environment(SOURCE_DATE_EPOCH=str(seconds))
    done = build(spec, tmp_path / "x", env=env)
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "x") as archive:
        times = {member.mtime for member in archive}
        (entry,) = json.load(_member(archive, "manifest.json"))
        config = json.load(_member(archive, entry["Config"]))
        layers = []
        for name in entry["Layers"]:
            with tarfile.open(fileobj=_member(archive, name)) as layer:
                layers.append({member.mtime for member in layer})
    assert times == {seconds}
    assert layers == [{1}] * 4 + [{seconds}]
    assert config["created"] == "2020-09-13T12:26:40Z"
    assert {entry["created"] for entry in config["history"]} == {"2020-09-13T12:26:40Z"}
    fixed = sample_spec(tmp_path, created="2000-01-01T00:00:00Z")
    build(fixed, tmp_path / "y", "--format", "oci-layout", env=env)
    (manifest,) = json.loads((tmp_path / "y/index.json").read_text())["manifests"]
    blobs = tmp_path / "y/blobs/sha256"
    config_digest = json.loads((blobs / manifest["digest"][7:]).read_text())["config"]["digest"]
    config = json.loads((blobs / config_digest[7:]).read_text())
    assert config["created"] == "2000-01-01T00:00:00Z"


def _member(archive: tarfile.TarFile, name: str) -> tarfile.ExFileObject:
    stream = archive.extractfile(name)
    assert isinstance(stream, tarfile.ExFileObject)
    return stream


def test_a_progress_bar_on_a_terminal(sample_spec: SampleSpec, tmp_path: Path) -> None:
    shown = _on_terminal(sample_spec(tmp_path), tmp_path / "x", environment(TERM="xterm"))
    assert b"/5 layers" in shown
    first = re.search(rb"[0-9.]+/[0-9.]+ \w+", shown)
    assert first, shown
    assert first[0] == b"0.0/4.0 kB", "the bytes of all layers are known at once"
    assert re.search(rb"([0-9.]+)/\1 kB", shown), "in the end, all bytes are read"
    assert b"\x1b[" in shown, "it is drawn over itself"
    assert b"layer 1/5" not in shown


def test_a_summary_and_the_next_step_on_a_terminal(sample_spec: SampleSpec, tmp_path: Path) -> None:
    shown = _on_terminal(sample_spec(tmp_path), tmp_path / "x", environment(TERM="xterm")).decode()
    first, *_, summary, step = shown.splitlines()
    assert first == "planning x/y:v1"
    pattern = r"x/y:v1: linux/amd64, 5 layers, [0-9]+\.[0-9] kB, in [0-9]+\.[0-9] s"
    assert re.search(pattern, summary), summary
    assert step == f"next: docker load < {tmp_path}/x"


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_the_result_as_json(sample_spec: SampleSpec, tmp_path: Path, form: str) -> None:
    spec, target = sample_spec(tmp_path), tmp_path / "x"
    metadata = ("--metadata-file", str(tmp_path / "metadata.json"))
    plain = build(spec, target, "-q", "--format", form, *metadata)
    document = json.loads((tmp_path / "metadata.json").read_text())
    assert document[("config_" if form == "docker-archive" else "") + "digest"] == plain.stdout[:-1]
    done = build(spec, target, "-q", "--format", form, "--json")
    assert json.loads(done.stdout) == document
    assert (document["output"], document["format"]) == (str(target), form)
    report = json.loads(run("inspect", "--json", target).stdout)
    (image,) = report["images"]
    for key in ("tags", "digest", "config_digest", "os", "architecture", "variant"):
        assert document[key] == image[key]
    for layer, other in zip(document["layers"], image["layers"], strict=True):
        assert layer == {key: value for key, value in other.items() if key != "store_paths"}
    assert document["size"] > sum(layer["size"] for layer in document["layers"])
    dry = json.loads(build(spec, None, "--dry-run", "--json", "--format", form).stdout)
    assert dry == document | {"output": None}


@pytest.mark.parametrize(("options", "on_zstd"), [(["gzip"], False), (["none", "--legacy"], True)])
def test_a_dry_run_of_a_docker_archive_tells_what_its_layers_are(
    sample_spec: SampleSpec, tmp_path: Path, options: list[str], on_zstd: bool
) -> None:
    """They are not compressed: the file is, as a whole, and a base's zstd layers are expanded."""
    base = tmp_path / "base"
    base.mkdir()
    changes = {"from_image": {"path": str(base / "image")}} if on_zstd else {}
    if on_zstd:
        build(sample_spec(base, name="base"), base / "image", "--compression", "zstd")
    spec = sample_spec(tmp_path, **changes)
    format_ = ("--format", "docker-archive", "--json", "--compression", *options)
    done = json.loads(build(spec, tmp_path / "x", *format_).stdout)
    assert {layer["media_type"].rpartition(".")[2] for layer in done["layers"]} == {"tar"}
    for more in ("--no-cache", "--dry-run"):
        dry = json.loads(build(spec, None, "--dry-run", more, *format_).stdout)
        assert dry == done | {"output": None}


@pytest.mark.parametrize("compression", ["zstd:chunked", "estargz"])
def test_what_a_docker_archive_can_not_be_is_an_error_before_scripts_run(
    sample_spec: SampleSpec, tmp_path: Path, compression: str
) -> None:
    spec = sample_spec(tmp_path, extra_commands="exit 5")
    chosen = ("--format", "docker-archive", "--compression", compression)
    for target, dry in ((tmp_path / "x", ()), (None, ("--dry-run",))):
        done = build(spec, target, *dry, *chosen)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.endswith(
            f"error: {compression} is for layers, not for whole files: choose gzip, zstd or none,"
            " or another format than a docker-archive\n"
        )


def test_lines_in_the_log_of_a_nix_build(sample_spec: SampleSpec, tmp_path: Path) -> None:
    env = environment(TERM="xterm", NIX_BUILD_TOP="/build")
    shown = _on_terminal(sample_spec(tmp_path), tmp_path / "x", env)
    assert b"layer 1/5" in shown
    assert b"\x1b[" not in shown


def _on_terminal(spec: Path, target: Path, env: Mapping[str, str]) -> bytes:
    """Return what a build writes to a terminal that is its standard error."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "build", spec, "-o", target], env=env, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    # On Linux, reading from a terminal without a writer is an error.
    with suppress(OSError):
        while chunk := os.read(ours, 4096):
            shown += chunk
    os.close(ours)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, shown
    assert out.startswith(b"sha256:")
    return shown


def test_a_standard_output_that_is_closed(sample_spec: SampleSpec, tmp_path: Path) -> None:
    arguments = ["build", "-q", str(sample_spec(tmp_path)), "-o", f"{tmp_path}/x"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *PROGRAM, *arguments],
        env=environment(),
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert tarfile.is_tarfile(tmp_path / "x")


def test_a_standard_output_without_a_reader(sample_spec: SampleSpec, tmp_path: Path) -> None:
    source, sink = os.pipe()
    os.close(source)
    done = subprocess.run(
        [*PROGRAM, "build", "-q", sample_spec(tmp_path), "-o", tmp_path / "x"],
        env=environment(),
        stdout=sink,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(sink)
    assert done.returncode == 1
    assert done.stderr == b"error: the reader of standard output closed it before the end\n"


def test_the_digest_of_a_docker_archive_is_that_of_its_config(
    sample_spec: SampleSpec, tmp_path: Path
) -> None:
    done = build(sample_spec(tmp_path), tmp_path / "x", "--format", "docker-archive")
    with tarfile.open(tmp_path / "x") as tar:
        (entry,) = json.load(_member(tar, "manifest.json"))
        config = _member(tar, entry["Config"]).read()
    assert done.stdout == f"sha256:{hashlib.sha256(config).hexdigest()}\n"


@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/fd/0", "-"])
def test_names_in_a_spec_from_a_pipe(
    sample_spec: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """They count from the current directory: `<(jq … spec.json)` of a shell is in /dev/fd."""
    text = sample_spec(tmp_path, extra_commands="").read_text()
    done = run_text("build", name, "-q", "-o", "x.tar", directory=tmp_path, stdin=text)
    assert done.returncode == 0, done.stderr
