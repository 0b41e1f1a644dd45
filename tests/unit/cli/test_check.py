"""`nixdock check`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.program import environment, run, run_text
from tests.unit.docker_archive import archive, directory, entry, layer
from tests.unit.registry.fake_registry import FakeRegistry, fake_registry

SampleSpec = Callable[..., Path]
APP = f"/nix/store/{'d' * 32}-app"
LIBC = f"/nix/store/{'a' * 32}-libc"


@pytest.fixture
def image(tmp_path: Path, sample_spec: SampleSpec, sample_image: SampleSpec) -> Path:
    changes = {"extra_commands": "mkdir -m 1777 tmp; mkdir -m 777 open"}
    sample_spec(tmp_path, **changes)
    return sample_image(tmp_path / "image.tar", **changes)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """An image whose upper layer hides a secret and a program of the lower one."""
    lower = layer(
        directory("bin"),
        entry("bin/su", mode=0o4755),
        entry("bin/gone", mode=0o4755),
        ("srv/id_rsa", "secret"),
        ("etc/motd", "x" * 5000),
    )
    upper = layer(entry("bin/.wh.gone"), entry("srv/.wh.id_rsa"), entry("open", mode=0o666))
    return archive(tmp_path / "foreign.tar", [lower, upper])


def findings(*arguments: object, status: int = 1) -> list[dict[str, Any]]:
    done = run_text("check", *arguments, "--json", "-q")
    assert done.returncode == status, done.stderr
    document = json.loads(done.stdout)
    assert document["passed"] is (status == 0)
    found: list[dict[str, Any]] = document["findings"]
    return found


def test_everything_that_breaks_the_policy_is_listed(foreign: Path) -> None:
    done = run_text(
        "check", foreign, "--max-size", "1kB", "--max-layers", 1, "--deny-setuid",
        "--deny-path", "id_rsa", "--deny-world-writable", "--max-uncompressed", 1,
    )  # fmt: skip
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "max-size",
        "max-uncompressed",
        "max-layers",
        "deny-path",
        "deny-setuid",
        "deny-world-writable",
    ]
    assert done.stderr.endswith(f"error: {foreign} breaks the policy: 6 findings\n")


def test_hidden_files_still_leak_but_give_no_rights(foreign: Path) -> None:
    found = findings(foreign, "--deny-setuid", "--deny-path", "id_rsa", "--deny-path", "gone")
    assert [(each["rule"], each["path"], each["layers"]) for each in found] == [
        ("deny-path", "/bin/gone", [1]),
        ("deny-path", "/srv/id_rsa", [1]),
        ("deny-setuid", "/bin/su", [1]),
    ]
    assert findings(foreign, "--allow-setuid", "/bin/su", status=0) == []
    assert len(findings(foreign, "--allow-setuid", "/bin/s")) == 1


def test_a_directory_without_an_entry_is_found(foreign: Path) -> None:
    (finding,) = findings(foreign, "--deny-path", "^/srv$")
    assert (finding["path"], finding["layers"]) == ("/srv", [1])


def test_an_image_that_keeps_to_the_policy(image: Path) -> None:
    done = run_text("check", image, "--max-layers", 10, "--deny-setuid", "--max-size", "1MB")
    assert (done.returncode, done.stdout) == (0, "ok: max-size, max-layers, deny-setuid\n")


def test_sizes_are_those_that_other_commands_state(image: Path, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    built = json.loads(run("build", spec, "-q", "--dry-run", "--json").stdout)
    size, layers = built["size"], [each["size"] for each in built["layers"]]
    for source in (image, spec):
        assert findings(source, "--max-size", size, status=0) == []
        (total,) = findings(source, "--max-size", size - 1)
        assert (total["measured"], total["limit"]) == (size, size - 1)
        large = findings(source, "--max-layer", max(layers) - 1)
        assert [each["layers"] for each in large] == [[layers.index(max(layers)) + 1]]
        (count,) = findings(source, "--max-layers", len(layers) - 1)
        assert count["measured"] == len(layers)


def test_uncompressed_sizes(image: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.tar"
    spec = tmp_path / "spec.json"
    run("build", spec, "-q", "--compression", "none", "-o", plain)
    layers = json.loads(run("inspect", plain, "--json").stdout)["images"][0]["layers"]
    size = sum(each["size"] for each in layers)
    for source in (image, spec, plain):
        assert findings(source, "--max-uncompressed", size, status=0) == []
        (finding,) = findings(source, "--max-uncompressed", size - 1)
        assert finding["measured"] == size


def test_specs_are_checked_as_their_images(image: Path, tmp_path: Path) -> None:
    rules = ["--deny-path", "/bin/app$", "--deny-world-writable", "--deny-path", "libc$"]
    of_image = findings(image, *rules)
    assert findings(tmp_path / "spec.json", *rules) == of_image
    assert [(each["rule"], each["path"]) for each in of_image] == [
        ("deny-path", "/bin/app"),
        ("deny-path", LIBC),
        ("deny-path", f"{APP}/bin/app"),
        ("deny-world-writable", "/open"),
    ]


def test_permission_rules_of_a_spec(tmp_path: Path, sample_spec: SampleSpec) -> None:
    perms = [{"path": f"{APP}/bin/app", "mode": "4555", "capabilities": ["cap_net_raw=ep"]}]
    spec = sample_spec(tmp_path, perms=perms)
    (finding,) = findings(spec, "--deny-setuid")
    assert finding["path"] == f"{APP}/bin/app"
    assert "a set-user-ID bit and capabilities" in finding["message"]


def test_graphs(tmp_path: Path, sample_spec: SampleSpec) -> None:
    sample_spec(tmp_path)
    graph = tmp_path / "graph.json"
    found = findings(graph, "--max-uncompressed", 3999, "--deny-path", "libc")
    assert [(each["rule"], each["measured"], each["path"]) for each in found] == [
        ("max-uncompressed", 4000, None),
        ("deny-path", None, LIBC),
    ]
    data = graph.read_bytes()
    assert run("check", "-", "--max-uncompressed", 3999, stdin=data).returncode == 1
    for rule in (["--max-size", "1"], ["--deny-setuid"]):
        done = run_text("check", graph, *rule)
        assert done.returncode == 2
        assert f"{rule[0][2:]} can't be checked; check the spec or the image" in done.stderr
    graph.write_text(json.dumps([{"path": LIBC, "references": []}]))
    done = run_text("check", graph, "--max-uncompressed", "1GB")
    assert done.returncode == 2
    assert "does not state the NAR sizes" in done.stderr


def test_licenses(image: Path, tmp_path: Path) -> None:
    meta = tmp_path / "meta.json"
    entries = {
        name: {"pname": name, "outputs": {"out": path}, "meta": {"license": {"spdxId": spdx}}}
        for name, path, spdx in (("app", APP, "AGPL-3.0-only"), ("libc", LIBC, "MIT"))
    }
    meta.write_text(json.dumps(entries))
    for source in (image, tmp_path / "spec.json", tmp_path / "graph.json"):
        (finding,) = findings(source, "--meta", meta, "--deny-license", "AGPL-*")
        assert (finding["package"], finding["path"]) == ("app", APP)
        unknown = findings(source, "--meta", meta, "--deny-unknown-license")
        assert {each["package"] for each in unknown} == {"link", "script"}
        done = run_text("check", source, "--deny-license", "MIT")
        assert done.returncode == 0
        assert "warning: the licences of 4 packages are not known" in done.stderr


def test_a_base_image_that_is_not_examined_is_no_silent_success(foreign: Path) -> None:
    reason = "no database of dpkg, apk or rpm with a package was found in its layers"
    done = run_text("check", foreign, "--deny-license", "MIT", "--json")
    assert done.returncode == 0
    assert f"warning: packages of the base image, and their licences, are not known, as {reason}" in done.stderr  # fmt: skip # noqa: E501
    assert json.loads(done.stdout)["unexamined"] == reason
    done = run_text("check", foreign, "--deny-license", "MIT", "--deny-unknown-license")
    assert (done.returncode, "warning" in done.stderr) == (1, False)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as fake:
        yield fake


def test_updates(image: Path, tmp_path: Path, registry: FakeRegistry) -> None:
    spec = tmp_path / "spec.json"
    place = f"docker://{registry.host}/app:v1"
    assert run("copy", image, place, "-q").returncode == 0
    assert findings(image, "--max-update", 0, "--against", place, status=0) == []
    assert findings(place, "--max-update", 0, "--against", image, status=0) == []
    document = json.loads(spec.read_text())
    spec.write_text(json.dumps({**document, "extra_commands": "echo other > other"}))
    diff = json.loads(run("diff", place, spec, "--json").stdout)
    transferred = diff["transfers"]["registry"]["bytes"]
    limits = ["--against", place, "--max-update"]
    registry.log.clear()
    assert findings(spec, *limits, transferred, status=0) == []
    (finding,) = findings(spec, *limits, transferred - 1)
    assert finding["measured"] == transferred
    assert len({*registry.routes("GET", "/blobs/")}) == 1, "only the config is fetched"


def test_layers_in_a_registry_are_fetched_once(image: Path, registry: FakeRegistry) -> None:
    place = f"docker://{registry.host}/app:v1"
    assert run("copy", image, place, "-q").returncode == 0
    rules = ["--deny-setuid", "--deny-path", "libc$", "--deny-unknown-license", "--max-size", 1]
    of_file = findings(image, *rules)
    registry.log.clear()
    assert findings(place, *rules) == of_file
    # Besides, the first bytes tell how a layer is compressed.
    fetched = [
        each.path for each in registry.requests("GET", "/blobs/") if "Range" not in each.headers
    ]
    assert len(fetched) == len({*fetched}) > 3


def joined(directory: Path, sample_spec: SampleSpec, **commands: str) -> Path:
    """Build an index with an image for each architecture, made by its commands."""
    images = []
    for architecture, extra in commands.items():
        (directory / architecture).mkdir()
        spec = sample_spec(
            directory / architecture, architecture=architecture, extra_commands=extra
        )
        images.append(directory / f"{architecture}.tar")
        assert run("build", spec, "-q", "-o", images[-1]).returncode == 0
    target = directory / "index.tar"
    assert run("index", *images, "-q", "-o", target).returncode == 0
    return target


@pytest.fixture
def index(tmp_path: Path, sample_spec: SampleSpec) -> Path:
    """An index of two images; only the one for arm64 has /open, which everybody may write to."""
    return joined(tmp_path, sample_spec, amd64="", arm64="mkdir -m 777 open; echo x > open/x")


def test_all_images_of_an_index_are_checked(index: Path, registry: FakeRegistry) -> None:
    reference = f"docker://{registry.host}/app:v1"
    assert run("copy", index, reference, "--all-platforms", "-q").returncode == 0
    rules = (
        "--max-layers", 1, "--deny-world-writable", "--deny-path", "^/open/x$", "--max-size", 1,
    )  # fmt: skip
    for source in (index, reference):
        both = findings(source, *rules)
        assert [(each["rule"], each["platform"], each["path"]) for each in both] == [
            ("max-size", "linux/amd64", None),
            ("max-size", "linux/arm64", None),
            ("max-layers", "linux/amd64", None),
            ("max-layers", "linux/arm64", None),
            ("deny-path", "linux/arm64", "/open/x"),
            ("deny-world-writable", "linux/arm64", "/open"),
        ]
        alone = [
            findings(source, *rules, "--platform", platform)
            for platform in ("linux/amd64", "linux/arm64")
        ]
        assert sorted(both, key=str) == sorted([*alone[0], *alone[1]], key=str)
        done = run_text("check", source, "--deny-world-writable", "-q")
        assert done.stdout.startswith("deny-world-writable: linux/arm64: /open ")
        assert done.stderr == f"error: {source} breaks the policy: 1 finding\n"
        done = run_text("check", source, "--deny-world-writable", "--platform", "linux/amd64")
        assert (done.stdout, done.stderr) == ("ok: deny-world-writable, for linux/amd64\n", "")
        done = run_text("check", source, "--max-layers", 99)
        assert done.stdout == "ok: max-layers, for linux/amd64, linux/arm64\n"


def test_the_update_of_each_image_of_an_index_is_checked(
    index: Path, tmp_path: Path, sample_spec: SampleSpec
) -> None:
    assert findings(index, "--max-update", 0, "--against", index, status=0) == []
    (tmp_path / "old").mkdir()
    old = joined(tmp_path / "old", sample_spec, amd64="", arm64="echo old > old")
    (finding,) = findings(index, "--max-update", 0, "--against", old)
    assert finding["platform"] == "linux/arm64"
    alone = joined(tmp_path / "old/amd64", sample_spec, amd64="", s390x="")
    done = run_text("check", index, "--max-update", 0, "--against", alone)
    assert (done.returncode, done.stdout) == (2, "")
    assert "linux/arm64" in done.stderr


def test_a_spec_updates_the_image_for_its_platform(
    index: Path, tmp_path: Path, registry: FakeRegistry
) -> None:
    reference = f"docker://{registry.host}/app:v1"
    assert run("copy", index, reference, "--all-platforms", "-q").returncode == 0
    for architecture in ("amd64", "arm64"):
        spec = tmp_path / architecture / "spec.json"
        for old in (index, reference):
            assert findings(spec, "--max-update", 0, "--against", old, status=0) == []


def test_packages_of_all_images_are_counted(index: Path) -> None:
    """The metadata can be read only once from standard input."""
    rules = ("--deny-license", "AGPL-*", "--meta", "-", "--json")
    both = json.loads(run_text("check", index, *rules, stdin="{}").stdout)
    one = run_text("check", index, *rules, "--platform", "linux/arm64", stdin="{}").stdout
    assert both["unlicensed"] == 2 * json.loads(one)["unlicensed"] > 0
    assert both["platforms"] == ["linux/amd64", "linux/arm64"]


def test_an_index_without_the_usual_platform(tmp_path: Path, sample_spec: SampleSpec) -> None:
    found = findings(joined(tmp_path, sample_spec, riscv64="", s390x=""), "--max-layers", 0)
    assert [each["platform"] for each in found] == ["linux/riscv64", "linux/s390x"]


def test_sarif_is_written_also_if_the_policy_is_broken(image: Path, tmp_path: Path) -> None:
    logs = []
    for number, seed in enumerate(("1", "2")):
        target = tmp_path / f"{number}.sarif"
        env = environment(PYTHONHASHSEED=seed, LC_ALL="C")
        done = run(
            "check", image.name, "--deny-path", "app|libc", "--sarif", target, env=env,
            directory=tmp_path,
        )  # fmt: skip
        assert done.returncode == 1
        logs.append(target.read_bytes())
    assert logs[0] == logs[1]
    assert {each["ruleId"] for each in json.loads(logs[0])["runs"][0]["results"]} == {"deny-path"}


def test_sarif_on_standard_output(image: Path) -> None:
    done = run_text("check", image, "--max-size", 1, "--sarif", "-", "-q")
    (finding,) = json.loads(done.stdout)["runs"][0]["results"]
    assert done.stderr.startswith(f"max-size: {finding['message']['text']}\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--max-size", "1", "--sarif", "-", "--json"], "can't be both the JSON and the SARIF"),
        ([], "expected at least one rule"),
        (["--max-update", "1MB"], "--max-update and --against belong together"),
        (["--against", "x.tar", "--max-size", "1"], "--max-update and --against belong together"),
        (["--deny-path", "("], "'(' is not a regular expression"),
        (["--allow-setuid", "("], "'(' is not a regular expression"),
        (["--deny-license", " "], "a licence of deny-license is empty"),
        (["--max-size", "much"], "'much' is not a size"),
    ],
)
def test_wrong_usage(image: Path, arguments: list[str], reason: str) -> None:
    done = run_text("check", image, *arguments)
    assert done.returncode == 2
    assert reason in done.stderr


def test_damaged_layers_are_not_trusted(image: Path) -> None:
    data = bytearray(image.read_bytes())
    start = data.index(b"\x1f\x8b\x08") + 20
    data[start] ^= 1
    image.write_bytes(data)
    assert run_text("check", image, "--max-layers", 10).returncode == 0, "no layer is read"
    for rule in ("--deny-setuid", "--deny-path=x"):
        done = run_text("check", image, rule)
        assert done.returncode == 1
        assert "damaged" in done.stderr or "malformed" in done.stderr, done.stderr
