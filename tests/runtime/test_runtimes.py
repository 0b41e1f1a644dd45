"""The fixtures themselves, on an image that owes nothing to nixdock."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import tarfile
import urllib.request
from pathlib import Path

import pytest

from .command import Daemon, ToolError, free_port, listens, require_tool, run_tool, wait_until
from .engine import Engine, Podman
from .oci_tools import Skopeo, Umoci
from .registry import Registry
from .tiny_image import TinyImage
from .workspace import workspace

pytestmark = pytest.mark.runtime


@pytest.fixture(params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(request.param)
    return found


def test_engine_loads_and_runs(engine: Engine, tiny_archive: TinyImage) -> None:
    image = engine.load(tiny_archive.archive)
    assert image.endswith(tiny_archive.reference)
    assert engine.run(image).stdout == "hello\n"
    assert engine.inspect(image)["Id"].removeprefix("sha256:") in tiny_archive.config_digest


def test_engine_loads_a_stream(engine: Engine, tiny_archive: TinyImage) -> None:
    with tiny_archive.archive.open("rb") as stream:
        assert engine.load(stream).endswith(tiny_archive.reference)


def test_engine_loads_from_another_process(engine: Engine, tiny_archive: TinyImage) -> None:
    with subprocess.Popen(["cat", tiny_archive.archive], stdout=subprocess.PIPE) as producer:
        assert producer.stdout is not None
        assert engine.load(producer.stdout).endswith(tiny_archive.reference)


def test_engine_reports_a_failing_container(engine: Engine, tiny_archive: TinyImage) -> None:
    image = engine.load(tiny_archive.archive)
    assert engine.run(image, "/bin/busybox", "false", check=False).returncode == 1
    with pytest.raises(ToolError, match=r"run .*busybox ls /nowhere(.|\n)*No such file"):
        engine.run(image, "/bin/busybox", "ls", "/nowhere")


def test_engine_never_fetches_to_run(engine: Engine) -> None:
    with pytest.raises(ToolError, match=r"(?i)no such image|image not known|not found"):
        engine.run("localhost/nowhere:never")


def test_engine_has_no_network_by_default(engine: Engine, tiny_archive: TinyImage) -> None:
    image = engine.load(tiny_archive.archive)
    shown = engine.run(image, "/bin/busybox", "ip", "-o", "link").stdout
    assert [line.split()[1] for line in shown.splitlines()] == ["lo:"]


def test_engine_serves_on_the_host(engine: Engine, tiny_archive: TinyImage) -> None:
    image, port = engine.load(tiny_archive.archive), free_port()
    server = ["httpd", "-f", "-v", "-p", f"127.0.0.1:{port}", "-h", "/bin"]
    url = f"http://127.0.0.1:{port}/busybox"
    with engine.running(image, "/bin/busybox", *server) as container:
        wait_until(lambda: listens(port), what=f"port {port}")
        assert engine.exec(container, "/bin/busybox", "echo", "inside").stdout == "inside\n"
        with urllib.request.urlopen(url) as response:
            assert response.read(4) == b"\x7fELF"
        wait_until(lambda: "response:200" in engine.logs(container), what="the log")
    assert not listens(port)


def test_engine_saves_and_removes(engine: Engine, tiny_archive: TinyImage, tmp_path: Path) -> None:
    image = engine.load(tiny_archive.archive)
    engine.save(image, tmp_path / "saved.tar")
    with tarfile.open(tmp_path / "saved.tar") as saved:
        assert "manifest.json" in saved.getnames()
    engine.rmi(image)
    with pytest.raises(ToolError):
        engine.inspect(image)


def test_engine_pulls_from_the_registry(
    engine: Engine,
    skopeo: Skopeo,
    registry: Registry,
    repository: str,
    tiny_archive: TinyImage,
) -> None:
    target = registry.reference(repository, "v1")
    skopeo.copy(f"oci-archive:{tiny_archive.archive}", f"docker://{target}")
    assert engine.run(engine.pull(target)).stdout == "hello\n"
    assert any(tiny_archive.layer_digest in line for line in registry.requests(repository))


def test_podman_pulls_other_transports(podman: Podman, tiny_archive: TinyImage) -> None:
    sources = [
        f"oci:{tiny_archive.layout}:{tiny_archive.tag}",
        f"oci-archive:{tiny_archive.archive}",
        f"docker-archive:{tiny_archive.archive}",
    ]
    for source in sources:
        image = podman.pull(source)
        assert podman.run(image).stdout == "hello\n"
        podman.rmi(image)


def test_podman_loads_a_plain_oci_archive(
    podman: Podman, skopeo: Skopeo, tiny_archive: TinyImage, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.tar"
    skopeo.copy(
        f"oci:{tiny_archive.layout}:{tiny_archive.tag}", f"oci-archive:{plain}:{tiny_archive.tag}"
    )
    assert podman.run(podman.load(plain)).stdout == "hello\n"


def test_podman_loads_a_plain_docker_archive(
    podman: Podman, skopeo: Skopeo, tiny_archive: TinyImage, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.tar"
    skopeo.copy(
        f"docker-archive:{tiny_archive.archive}",
        f"docker-archive:{plain}:{tiny_archive.reference}",
        preserve_digests=False,
    )
    assert podman.run(podman.load(plain)).stdout == "hello\n"


def test_registry_round_trip_keeps_the_digest(
    skopeo: Skopeo,
    registry: Registry,
    repository: str,
    tiny_archive: TinyImage,
    tmp_path: Path,
) -> None:
    target = f"docker://{registry.reference(repository, 'v1')}"
    skopeo.copy(f"oci-archive:{tiny_archive.archive}", target)
    assert skopeo.digest(target) == tiny_archive.manifest_digest
    assert skopeo.inspect(target)["Digest"] == tiny_archive.manifest_digest
    assert skopeo.config(target)["rootfs"]["diff_ids"] == [tiny_archive.diff_id]
    assert skopeo.tags(registry.reference(repository).removesuffix(":latest")) == ["v1"]

    by_digest = f"docker://{registry.reference(repository, tiny_archive.manifest_digest)}"
    skopeo.copy(by_digest, f"oci:{tmp_path}/back:v1")
    index = json.loads((tmp_path / "back/index.json").read_bytes())
    assert [entry["digest"] for entry in index["manifests"]] == [tiny_archive.manifest_digest]


def test_umoci_unpacks(umoci: Umoci, tiny_archive: TinyImage, tmp_path: Path) -> None:
    root = umoci.unpack(tiny_archive.layout, tiny_archive.tag, tmp_path / "bundle")
    assert [path.relative_to(root).as_posix() for path in sorted(root.rglob("*"))] == [
        "bin",
        "bin/busybox",
    ]
    busybox = root / "bin/busybox"
    assert stat.S_IMODE(busybox.stat().st_mode) == 0o755
    assert run_tool([busybox, "echo", "hello"]).stdout == "hello\n"


def test_umoci_reads_the_manifest(umoci: Umoci, tiny_archive: TinyImage) -> None:
    umoci.validate(tiny_archive.layout, tiny_archive.tag)
    assert "history" in umoci.stat(tiny_archive.layout, tiny_archive.tag)


def test_umoci_rejects_a_damaged_layer(
    umoci: Umoci, skopeo: Skopeo, tiny_archive: TinyImage, tmp_path: Path
) -> None:
    skopeo.copy(f"oci:{tiny_archive.layout}:{tiny_archive.tag}", f"oci:{tmp_path}/damaged:v1")
    layer = tmp_path / "damaged/blobs" / tiny_archive.layer_digest.replace(":", "/")
    content = bytearray(layer.read_bytes())
    content[len(content) // 2] ^= 1
    layer.write_bytes(content)
    with pytest.raises(ToolError, match="umoci"):
        umoci.validate(tmp_path / "damaged", "v1")


def test_missing_tool_fails_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)
    with pytest.raises(pytest.fail.Exception, match=r"apt-get install docker\.io"):
        require_tool("dockerd")


def test_a_tool_that_hangs_is_a_failure() -> None:
    with pytest.raises(ToolError, match=r"sleep 60\nstill running after 0.1 s"):
        run_tool(["sleep", "60"], timeout=0.1)


def test_socket_paths_fit() -> None:
    with workspace() as space:
        longest = space.root / "exec/containerd/containerd-debug.sock.ttrpc"
        assert len(os.fsencode(longest)) < 108


def test_a_container_is_gone_after_its_block(engine: Engine, tiny_archive: TinyImage) -> None:
    image = engine.load(tiny_archive.archive)
    with engine.running(image, "/bin/busybox", "sleep", "600") as container:
        assert container in engine("ps", "--quiet", "--no-trunc").stdout
    assert container not in engine("ps", "--all", "--quiet", "--no-trunc").stdout


def test_a_workspace_unmounts_what_is_left() -> None:
    with workspace() as space:
        below = space.directory("a b/c")
        run_tool(["mount", "--bind", below.parent, below])
        assert below.is_mount()
    assert not space.root.exists()


def test_a_daemon_that_fails_shows_its_log(tmp_path: Path) -> None:
    argv = [require_tool("busybox"), "sh", "-c", "echo no luck; exit 3"]
    with pytest.raises(ToolError, match=r"exit status 3\nno luck"):
        Daemon.start(argv, tmp_path / "log", env={}, ready=lambda: False)


def test_a_daemon_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    argv = [require_tool("busybox"), "sh", "-c", "echo $$; exec busybox sleep 600"]
    log = tmp_path / "log"
    with pytest.raises(ToolError, match="not within"):
        Daemon.start(argv, log, env={}, ready=lambda: False, timeout=0.3)
    assert not Path("/proc", log.read_text().strip()).exists()
