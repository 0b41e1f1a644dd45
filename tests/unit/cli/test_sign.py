"""`nixdock sign`, `nixdock generate-key-pair`, and `nixdock verify` with a key."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.program import PROGRAM, environment, run, run_text
from tests.unit.registry.fake_registry import FakeRegistry, fake_registry

PASSWORD = "correct horse"
ENV = environment(COSIGN_PASSWORD=PASSWORD)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as fake:
        # Without it, signers wait for others in real time.
        fake.referrers = True
        yield fake


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    prefix = tmp_path / "k"
    done = run_text("generate-key-pair", "-o", prefix, env=ENV)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"wrote the private key to {prefix}.key, and the public key to {prefix}.pub\n"  # fmt: skip # noqa: E501
    return tmp_path / "k.key", tmp_path / "k.pub"


@pytest.fixture
def reference(tmp_path: Path, registry: FakeRegistry, sample_image: Callable[..., Path]) -> str:
    image = sample_image(tmp_path / "image.tar")
    reference = f"docker://{registry.host}/app:v1"
    assert run("copy", image, reference, "-q").returncode == 0
    return reference


def test_sign_and_verify(reference: str, keys: tuple[Path, Path], registry: FakeRegistry) -> None:
    private, public = keys
    done = run_text("verify", reference, "--signature", "--key", public)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is not signed with the key in" in done.stderr
    done = run_text("sign", reference, "--key", private, "--only", "bundle", env=ENV)
    assert done.returncode == 0, done.stderr
    (digest,) = (d for d, m in registry.manifests["app"].items() if b"sigstore" not in m.data)
    assert done.stdout == f"{registry.host}/app@{digest}\n"
    assert done.stderr == "added a Sigstore bundle that refers to it\n"
    done = run_text("sign", reference, "--key", private, "--only", "bundle", env=ENV)
    assert "has been signed with this key already" in done.stderr
    registry.log.clear()
    done = run_text("verify", reference, "--signature", "--key", public)
    expected = f"ok: {registry.host}/app@{digest} is signed with the key in {public}"
    assert (done.returncode, done.stdout) == (0, f"{expected} (bundle)\n")
    signed = f"{registry.host}/app@{digest}"
    done = run_text("verify", signed, "--signature", "--key", public)
    assert done.returncode == 0, "what sign prints can be verified"
    layers = json.loads(registry.manifests["app"][digest].data)["layers"]
    assert layers
    for each in layers:
        assert not registry.requests("GET", each["digest"]), "no layer is read"


def test_a_layout(tmp_path: Path, reference: str, keys: tuple[Path, Path]) -> None:
    private, public = keys
    layout = f"oci:{tmp_path}/layout:v1"
    assert run("copy", reference, layout, "-q").returncode == 0
    assert run("verify", layout, "--signature", "--key", public).returncode == 1
    done = run_text("sign", layout, "--key", private, env=ENV)
    assert (done.returncode, done.stdout) == (0, f"{layout}\n"), done.stderr
    index = json.loads((tmp_path / "layout/index.json").read_text())
    digest = index["manifests"][0]["digest"]
    assert done.stderr == f"added a Sigstore bundle that refers to it: {digest}\n"
    assert "already" in run_text("sign", layout, "--key", private, env=ENV).stderr
    done = run_text("verify", layout, "--signature", "--key", public)
    expected = f"ok: {digest} in {layout} is signed with the key in {public} (bundle)\n"
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
    assert run("verify", f"{tmp_path}/layout").returncode == 0
    copied = reference.replace("/app:", "/copied:")
    assert run("copy", layout, copied, "--referrers", "-q").returncode == 0
    assert run("verify", copied, "--signature", "--key", public).returncode == 0


def test_the_images_of_an_index_in_a_layout(
    tmp_path: Path, reference: str, keys: tuple[Path, Path]
) -> None:
    """They are signed by their platforms; what is refused leaves nothing signed."""
    private, public = keys
    image, index = f"oci:{tmp_path}/image", f"oci:{tmp_path}/index"
    assert run("copy", reference, image, "-q").returncode == 0
    assert run("sign", image, "--key", private, "--recursive", env=ENV).returncode == 0
    into = ("-o", tmp_path / "index", "--format", "oci-layout")
    assert run("index", reference, "-q", *into).returncode == 0
    done = run_text("sign", index, "--key", private, "--recursive", env=ENV)
    assert (done.returncode, done.stdout) == (2, "")
    assert "sign its images one by one" in done.stderr
    assert run("verify", index, "--signature", "--key", public).returncode == 1
    one = ("--key", private, "--platform", "linux/amd64")
    assert run("sign", index, *one, env=ENV).returncode == 0
    one = ("--key", public, "--platform", "linux/amd64")
    assert run("verify", index, "--signature", *one).returncode == 0


def test_attest_a_bill_of_materials(
    tmp_path: Path, reference: str, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    bill = tmp_path / "app.spdx.json"
    assert run("sbom", reference, "-o", bill).returncode == 0
    done = run_text(
        "sign", reference, "--key", private, "--attest", bill, "--type", "spdx", env=ENV
    )
    assert done.returncode == 0, done.stderr
    done = run_text("verify", reference, "--attestation", "spdx", "--key", public)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predicate"] == json.loads(bill.read_text())
    assert done.stdout.count("\n") == 1
    done = run_text("verify", reference, "--attestation", "spdx", "--signature", "--key", public)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_signature_and_attestations_are_of_the_same_image(
    tmp_path: Path, reference: str, keys: tuple[Path, Path], registry: FakeRegistry
) -> None:
    """The tag, which may move meanwhile, is read once."""
    private, public = keys
    predicate = tmp_path / "predicate.json"
    predicate.write_text("{}")
    attest = ("--attest", predicate, "--type", "x:y")
    assert run("sign", reference, "--key", private, env=ENV).returncode == 0
    assert run("sign", reference, "--key", private, *attest, env=ENV).returncode == 0
    registry.log.clear()
    done = run_text("verify", reference, "--signature", "--attestation", "x:y", "--key", public)
    assert (done.returncode, done.stderr[:3]) == (0, "ok:")
    assert json.loads(done.stdout)["predicateType"] == "x:y"
    assert len(registry.requests("GET", "/manifests/v1")) == 1


def test_the_password_is_asked_for(tmp_path: Path) -> None:
    """On a terminal; it is not shown there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "generate-key-pair", "-o", str(tmp_path / "asked")],
        env=environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    for _ in range(2):
        while not shown.endswith(b": "):
            shown += os.read(ours, 1000)
        os.write(ours, b"hunter2\n")
        shown += b"\n"
    assert process.wait(60) == 0
    os.close(ours)
    assert b"hunter2" not in shown
    assert b"Password for the new private key" in shown


def test_secrets_are_not_shown(tmp_path: Path, reference: str, keys: tuple[Path, Path]) -> None:
    private, _ = keys
    body = private.read_text().splitlines()[1]
    env = environment(COSIGN_PASSWORD="hunter2")
    damaged = tmp_path / "damaged.key"
    damaged.write_text(private.read_text().replace(body[:8], ""))
    for key, words in ((private, env), (damaged, ENV)):
        for options in ([], ["--debug", "-v"]):
            done = run_text("sign", reference, "--key", key, *options, env=words)
            assert done.returncode == 2
            for secret in ("hunter2", PASSWORD, body[10:30]):
                assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "sign REF --key PRIVATE",
        # These need no password.
        "verify REF --signature --key PUBLIC",
        "referrers REF",
    ],
)
def test_other_programs_do_not_get_the_password(
    command: str, tmp_path: Path, reference: str, keys: tuple[Path, Path], registry: FakeRegistry
) -> None:
    seen = tmp_path / "seen"
    helper = tmp_path / "bin/docker-credential-spy"
    helper.parent.mkdir()
    helper.write_text(f"#!/bin/sh\nenv >{seen}\necho credentials not found\nexit 1\n")
    helper.chmod(0o755)
    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"credHelpers": {registry.host: "spy"}}))
    registry.accounts.kind = "basic"
    path = f"{helper.parent}:{os.environ['PATH']}"
    env = {**ENV, "PATH": path, "REGISTRY_AUTH_FILE": str(auth)}
    meant = {"REF": reference, "PRIVATE": keys[0], "PUBLIC": keys[1]}
    assert run(*(meant.get(word, word) for word in command.split()), env=env).returncode == 1
    assert "PATH=" in seen.read_text()
    assert PASSWORD not in seen.read_text()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["sign", "REF"], "Missing option '--key'"),
        (["sign", "REF", "--key", "none.key"], "can't read the private key none.key"),
        (["sign", "REF", "--key", "K.key"], "no terminal; set COSIGN_PASSWORD"),
        (["sign", "REF", "--key", "K.key", "--type", "spdx"], "--type is for --attest"),
        (
            ["sign", "REF", "--key", "K.key", "--attest", "K.pub", "--recursive"],
            "--attest can't be given with",
        ),
        (["verify", "REF", "--signature"], "need --key"),
        (["verify", "REF", "--attestation", "spdx"], "need --key"),
        (
            ["verify", "REF", "--signature", "--attestation", "spdx", "--key", "-"],
            "--key must be a file, and not standard input",
        ),
        (["verify", "REF", "--key", "K.pub"], "are for --signature"),
        (["verify", "REF", "--signature", "--strict", "--key", "K.pub"], "--strict is"),
        (
            ["sign", "oci:none", "--key", "K.key", "--only", "tag"],
            "can't have signatures under a tag",
        ),
        (["sign", "oci:none", "--key", "K.key", "--identity", "x"], "under a tag has an identity"),
        (["sign", "REF", "--key", "K.key", "--recursive", "--platform", "linux/x"], "exclusive"),
        (["verify", "image.tar", "--platform", "linux/amd64"], "are for --signature"),
        (["generate-key-pair"], "the password for the new private key can't be asked for"),
    ],
)
def test_wrong_usage(
    arguments: list[str], reason: str, tmp_path: Path, reference: str, keys: tuple[Path, Path]
) -> None:
    prefix = str(tmp_path / "k")
    words: list[Any] = [word.replace("REF", reference).replace("K.", f"{prefix}.") for word in arguments]  # fmt: skip # noqa: E501
    done = run_text(*words, directory=tmp_path)
    assert done.returncode == 2
    assert reason in done.stderr
