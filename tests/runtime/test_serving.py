"""`nixdock serve` with real readers of registries."""

from __future__ import annotations

import json
import re
import secrets
import ssl
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import bcrypt
import pytest
import trustme

import nixdock

from .command import run_tool
from .containerd import Containerd
from .engine import Docker, Podman
from .home import MB, Home, served
from .oci_tools import Skopeo, Umoci

pytestmark = [pytest.mark.runtime, pytest.mark.xdist_group("containers")]


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_other_tools_read_what_is_served(
    home: Home, skopeo: Skopeo, umoci: Umoci, compression: str
) -> None:
    spec, layout = home.spec("tools"), home.directory / "layout"
    built = nixdock.image_digests(nixdock.read_spec(spec), compression=compression)
    with served(home, spec, "--compression", compression) as (reference, _):
        assert skopeo.digest(f"docker://{reference}") == built.manifest.digest
        skopeo.copy(f"docker://{reference}", f"oci:{layout}:v1", preserve_digests=True)
    umoci.validate(layout, "v1")
    assert skopeo.digest(f"oci:{layout}:v1") == built.manifest.digest


def test_engines_pull_what_is_served(home: Home, docker: Docker, podman: Podman) -> None:
    with served(home, home.spec("pulled")) as (reference, _):
        for engine in (docker, podman):
            name = engine.pull(reference)
            done = engine.run(name, check=False)
            assert (done.returncode, done.stdout) == (3, "pulled\n")
            engine.rmi(name)


@dataclass(frozen=True)
class Protection:
    """Files of a server with HTTPS and one user, ann, whose password is in `password`."""

    directory: Path
    password: str

    @property
    def options(self) -> list[str]:
        files = {"--tls-cert": "cert.pem", "--tls-key": "key.pem", "--htpasswd": "htpasswd"}
        return [f"{option}={self.directory / file}" for option, file in files.items()]

    @property
    def authority(self) -> Path:
        """A directory with the certificate of the authority alone, as certs.d has them."""
        return self.directory / "authority"


@pytest.fixture(scope="module")
def protection(tmp_path_factory: pytest.TempPathFactory) -> Protection:
    directory, authority = tmp_path_factory.mktemp("protection"), trustme.CA()
    own = authority.issue_cert("127.0.0.1", "localhost")
    own.private_key_pem.write_to_path(str(directory / "key.pem"))
    (directory / "cert.pem").write_bytes(b"".join(part.bytes() for part in own.cert_chain_pems))
    (directory / "authority").mkdir()
    authority.cert_pem.write_to_path(str(directory / "authority/ca.crt"))
    made = Protection(directory, secrets.token_hex(8))
    hashed = bcrypt.hashpw(made.password.encode(), bcrypt.gensalt(4))
    (directory / "htpasswd").write_bytes(b"ann:" + hashed + b"\n")
    return made


def test_everybody_pulls_with_tls_and_a_password(
    home: Home,
    protection: Protection,
    skopeo: Skopeo,
    docker: Docker,
    podman: Podman,
    containerd: Containerd,
) -> None:
    user = f"ann:{protection.password}"
    certificates = f"--cert-dir={protection.authority}"
    with served(home, home.spec("protected"), *protection.options) as (reference, _):
        host = reference.partition("/")[0]
        copy = [skopeo.program, "--insecure-policy", "copy", f"docker://{reference}"]
        source = [f"--src-{each}" for each in (f"creds={user}", certificates.removeprefix("--"))]
        run_tool([*copy, f"oci:{home.directory}/copied:v1", *source], env=skopeo.env)
        for wrong in (source[:1], source[1:]):
            done = run_tool(
                [*copy, f"oci:{home.directory}/wrong:v1", *wrong], env=skopeo.env, check=False
            )
            assert done.returncode != 0
            assert "x509" in done.stderr or "a user and its password are needed" in done.stderr

        name = podman.pull(reference, "--tls-verify=true", certificates, f"--creds={user}")
        assert podman.run(name, check=False).stdout == "protected\n"
        podman.rmi(name)

        # Docker takes any certificate of a server on loopback, but asks with TLS first.
        docker("login", "--username=ann", f"--password={protection.password}", host)
        name = docker.pull(reference)
        assert docker.run(name, check=False).stdout == "protected\n"
        docker.rmi(name)
        docker("logout", host)

        # As on a node of Kubernetes; without it, containerd speaks plain HTTP to loopback.
        hosts = home.directory / "hosts"
        (hosts / host).mkdir(parents=True)
        (hosts / host / "hosts.toml").write_text(
            f'server = "https://{host}"\n[host."https://{host}"]\n'
            f'ca = "{protection.authority}/ca.crt"\ncapabilities = ["pull", "resolve"]\n'
        )
        pull = ["images", "pull", "--snapshotter=native", f"--hosts-dir={hosts}"]
        assert containerd(*pull, reference, check=False).returncode != 0
        containerd(*pull, f"--user={user}", reference)
        assert reference in containerd("images", "ls", "--quiet").stdout
        containerd("images", "rm", reference)


@pytest.mark.slow
@pytest.mark.parametrize("safe", [False, True], ids=["http", "https"])
def test_many_clients_need_little_memory(home: Home, protection: Protection, safe: bool) -> None:
    """As many as 64 pull a whole image at once; by hand, it was one of 1 GB."""
    spec = home.spec("many", size=(16 if safe else 32) << 20)
    options = protection.options[:2] if safe else []
    with served(home, spec, "--compression", "none", "--no-cache", *options) as (
        reference,
        process,
    ):
        address, _, path = reference.partition("/")
        repository, _, tag = path.rpartition(":")
        url = f"{'https' if safe else 'http'}://{address}/v2/{repository}"
        trusted = ssl.create_default_context(cafile=str(protection.authority / "ca.crt"))

        def fetch(place: str) -> bytes:
            with urllib.request.urlopen(f"{url}/{place}", timeout=120, context=trusted) as answer:
                data: bytes = answer.read()
                return data

        manifest = json.loads(fetch(f"manifests/{tag}"))
        digests = {each["digest"] for each in (manifest["config"], *manifest["layers"])}

        def pull(_: int) -> set[str]:
            return {f"sha256:{sha256(fetch(f'blobs/{each}')).hexdigest()}" for each in digests}

        with ThreadPoolExecutor(64) as pool:
            assert all(found == digests for found in pool.map(pull, range(64)))
        status = Path(f"/proc/{process}/status").read_text()
    peak = re.search(r"VmHWM:\s*(\d+) kB", status)
    assert peak is not None
    assert int(peak[1]) * 1000 < 150 * MB
