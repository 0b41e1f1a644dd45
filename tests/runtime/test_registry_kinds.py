"""The commands against registries that let in everybody, or only who has a password or a token."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from tests.unit.cli.program import environment, run_text

from .engine import Docker, Podman
from .oci_tools import Skopeo
from .registry import PASSWORD, USERNAME, Registry, local_registry
from .tiny_image import TinyImage
from .token_server import token_server

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("containers")]

ACCOUNT = f"{USERNAME}:{PASSWORD}"
ENCODED = base64.b64encode(ACCOUNT.encode()).decode()
# How every JSON Web Token begins.
TOKEN = "eyJ"


@dataclass(frozen=True)
class Kind:
    """A registry, the file of its authority if it has HTTPS, and whether it wants an account."""

    registry: Registry
    authority: Path | None = None
    wants_account: bool = True


@dataclass(frozen=True)
class Client:
    """Nixdock as a user runs it, whose home has nothing but what the test puts there."""

    home: Path
    kind: Kind
    variables: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()
    stdin: str = ""

    def try_(self, *arguments: object, debug: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command; whatever it says, it says no secret."""
        env = environment(
            HOME=str(self.home),
            XDG_CACHE_HOME=str(self.home / "cache"),
            XDG_RUNTIME_DIR=str(self.home / "runtime"),
            **dict(self.variables),
        )
        env.pop("REGISTRY_AUTH_FILE", None)
        command, *rest = arguments
        flags = ["--debug"] if debug else []
        done = run_text(command, *flags, *rest, *self.options, env=env, stdin=self.stdin)
        for secret in (PASSWORD, ENCODED, TOKEN):
            assert secret not in done.stdout + done.stderr
        return done

    def __call__(self, *arguments: object) -> str:
        """Run a command that succeeds, and return its output."""
        done = self.try_(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def error(self, *arguments: object) -> str:
        """Run a command that fails, and return the last line that it says."""
        done = self.try_(*arguments, debug=False)
        assert done.returncode == 1, done.stderr
        return done.stderr.splitlines()[-1]

    def with_account(self) -> Client:
        """Give the account to each command."""
        options = ("--username", USERNAME, "--password-stdin")
        return replace(self, options=options, stdin=f"{PASSWORD}\n")


@pytest.fixture(scope="module", params=["open", "passwords", "tls", "tokens"])
def kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kind]:
    directory = tmp_path_factory.mktemp("registry")
    with ExitStack() as stack:
        if request.param == "open":
            yield Kind(stack.enter_context(local_registry()), wants_account=False)
        elif request.param == "passwords":
            yield Kind(stack.enter_context(local_registry(passwords=True)))
        elif request.param == "tls":
            authority = trustme.CA()
            file = directory / "authority.pem"
            authority.cert_pem.write_to_path(file)
            server = local_registry(passwords=True, authority=authority)
            yield Kind(stack.enter_context(server), file)
        else:
            tokens = stack.enter_context(token_server(directory, USERNAME, PASSWORD))
            yield Kind(stack.enter_context(local_registry(tokens=tokens)))


@pytest.fixture
def stranger(kind: Kind, tmp_path: Path) -> Client:
    """A client without credentials, which trusts the registry's authority."""
    home = tmp_path / "home"
    (home / "runtime").mkdir(parents=True)
    client = Client(home, kind)
    if kind.authority is None:
        return client
    return replace(client, variables=(("SSL_CERT_FILE", str(kind.authority)),))


def test_an_image_goes_through_every_command(
    kind: Kind,
    stranger: Client,
    tiny_archive: TinyImage,
    skopeo: Skopeo,
    docker: Docker,
    podman: Podman,
    repository: str,
    tmp_path: Path,
) -> None:
    registry, client = kind.registry, stranger
    if kind.wants_account:
        login = ("login", registry.address, "--username", USERNAME, "--password-stdin")
        done = replace(client, stdin=f"{PASSWORD}\n").try_(*login)
        assert done.returncode == 0
        assert f"logged in to {registry.address}; stored the credentials of {USERNAME}" in (
            done.stderr
        )
    name, digest = registry.reference(repository, "v1"), tiny_archive.manifest_digest
    layout = f"oci:{tiny_archive.layout}:{tiny_archive.tag}"
    pinned = f"{registry.address}/{repository}@{digest}\n"
    assert client("push", layout, name, "-q") == pinned
    assert client("tags", f"{registry.address}/{repository}") == "v1\n"
    (image,) = json.loads(client("inspect", f"docker://{name}", "--json"))["images"]
    assert (image["digest"], image["config_digest"]) == (digest, tiny_archive.config_digest)
    assert client("pull", name, "-q", "-o", tmp_path / "tiny.tar") == pinned
    assert client("verify", tmp_path / "tiny.tar").startswith("ok: ")
    copy = registry.reference(f"{repository}-copy", "v2")
    result = json.loads(client("copy", f"docker://{name}", f"docker://{copy}", "--json"))
    assert [blob["outcome"] for blob in result["blobs"]] == ["mounted", "mounted"]

    # What skopeo makes of the same layout is the same, and nixdock pulls it.
    theirs = registry.reference(f"{repository}-skopeo", "v1")
    skopeo.copy(layout, f"docker://{theirs}", f"--dest-creds={ACCOUNT}")
    assert client("pull", theirs, "-q", "-o", tmp_path / "theirs.tar").endswith(f"@{digest}\n")
    skopeo.copy(f"docker://{copy}", f"oci:{tmp_path}/copy:v1", f"--src-creds={ACCOUNT}")
    assert skopeo.digest(f"oci:{tmp_path}/copy:v1") == digest

    settings = tmp_path / "docker"
    settings.mkdir()
    accounts = {registry.address: {"auth": ENCODED}} if kind.wants_account else {}
    (settings / "config.json").write_text(json.dumps({"auths": accounts}))
    docker("--config", settings, "pull", "--quiet", name)
    podman.pull(name, f"--creds={ACCOUNT}")
    for engine in (docker, podman):
        assert engine.run(name).stdout == "hello\n"
        engine.rmi(name)


def test_an_account_for_one_command_and_one_of_docker(
    kind: Kind, stranger: Client, tiny_archive: TinyImage, repository: str, tmp_path: Path
) -> None:
    name = kind.registry.reference(repository, "v1")
    pinned = f"{kind.registry.address}/{repository}@{tiny_archive.manifest_digest}\n"
    once = stranger.with_account()
    assert once("push", tiny_archive.archive, name, "-q") == pinned
    assert once("tags", f"{kind.registry.address}/{repository}") == "v1\n"
    assert once("inspect", f"docker://{name}", "--quick", "--json")
    assert once("copy", f"docker://{name}", f"docker://{name}-again", "-q") == pinned
    assert once("pull", name, "-q", "-o", tmp_path / "tiny.tar") == pinned
    attached = once("attach", f"docker://{name}", "--sbom", "spdx").strip()
    assert attached.rpartition("@")[2] in once("referrers", f"docker://{name}")
    settings = stranger.home / ".docker"
    settings.mkdir()
    auths = {"auths": {kind.registry.address: {"auth": ENCODED}}}
    (settings / "config.json").write_text(json.dumps(auths))
    assert stranger("pull", name, "-q", "-o", tmp_path / "tiny.tar") == pinned
    assert stranger("push", tiny_archive.archive, f"{name}-2", "-q") == pinned


def test_a_stranger_is_told_what_is_missing(
    kind: Kind, stranger: Client, tiny_archive: TinyImage, repository: str, tmp_path: Path
) -> None:
    address = kind.registry.address
    name = kind.registry.reference(repository, "v1")
    if not kind.wants_account:
        assert stranger.error("pull", name, "-q", "-o", tmp_path / "x") == (
            f"error: {address}/{repository} has no image v1; `nixdock tags {address}/{repository}`"
            " lists those it has"
        )
        return
    error = stranger.error("push", tiny_archive.archive, name, "-q")
    assert error.startswith(f"error: {address}/{repository}: the ")
    assert ": the registry answers 401" in error
    assert error.endswith(f'; it wants credentials: run "nixdock login {address}"')
    wrong = replace(stranger, stdin="wrong-password\n")
    login = ("login", address, "--username", USERNAME, "--password-stdin")
    assert f'it refuses the credentials: run "nixdock login {address}"' in wrong.error(*login)
    assert not list(stranger.home.glob("**/auth.json"))


def test_certificates_are_found_where_they_are_kept(
    kind: Kind, stranger: Client, tiny_archive: TinyImage, repository: str
) -> None:
    if kind.authority is None:
        assert kind.registry.scheme == "http"
        return
    address = kind.registry.address
    push = ("push", tiny_archive.archive, kind.registry.reference(repository), "-q")
    client = replace(stranger, variables=()).with_account()
    error = client.error(*push)
    assert f"the certificate of {address} is not trusted (" in error
    assert f"or put it into /etc/containers/certs.d/{address}, or accept any certificate" in error
    directory = client.home / ".config/containers/certs.d" / address
    directory.mkdir(parents=True)
    (directory / "ca.crt").write_bytes(kind.authority.read_bytes())
    assert client(*push).endswith(f"@{tiny_archive.manifest_digest}\n")
