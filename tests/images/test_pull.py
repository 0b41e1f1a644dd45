"""Images of a real registry: prefetched into the store, and pulled in the sandbox."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..nix.harness import NixError
from ..runtime.command import require_tool
from ..runtime.engine import Docker
from ..runtime.oci_tools import Skopeo
from ..runtime.registry import Registry
from ..runtime.tiny_image import TinyImage, tiny_image
from .conftest import LIBRARY, Library

pytestmark = [pytest.mark.nix, pytest.mark.runtime, pytest.mark.xdist_group("containers")]

PULL_IMAGE = (
    f"(import {LIBRARY}/pull-image.nix {{ common = import {LIBRARY}/common.nix {{"
    " inherit pkgs; inherit (nixdock) package; }; }).pullImage"
)
ZERO = "sha256-" + "A" * 43 + "="
OTHER_ZERO = "0" * 52
ANY = f'imageName = "a/b"; imageDigest = "sha256:{"0" * 64}";'


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyImage:
    """An image of BusyBox alone."""
    return tiny_image(tmp_path_factory.mktemp("tiny"))


def blob(data: bytes) -> dict[str, Any]:
    return {"digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


@pytest.fixture(scope="session")
def multi_arch(tiny: TinyImage, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A layout whose one index has an image for each of two architectures; digests by platform."""
    layout = tmp_path_factory.mktemp("multi") / "layout"
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def put(document: Any, **descriptor: Any) -> dict[str, Any]:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return {**blob(data), **descriptor}

    def read(digest: str) -> bytes:
        return (tiny.layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    put(read(tiny.layer_digest))
    manifest = json.loads(read(tiny.manifest_digest))
    entries = []
    for architecture in ("arm64", "amd64"):
        config = json.loads(read(tiny.config_digest)) | {"architecture": architecture}
        changed = manifest | {"config": put(config, mediaType=manifest["config"]["mediaType"])}
        entries.append(
            put(
                changed,
                mediaType=manifest["mediaType"],
                platform={"os": "linux", "architecture": architecture},
            )
        )
    index_type = "application/vnd.oci.image.index.v1+json"
    index = put(
        {"schemaVersion": 2, "mediaType": index_type, "manifests": entries},
        mediaType=index_type,
        annotations={"org.opencontainers.image.ref.name": "v1"},
    )
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [index]}))
    arm, amd = (str(entry["digest"]) for entry in entries)
    return {"layout": str(layout), "index": str(index["digest"]), "arm64": arm, "amd64": amd}


@pytest.fixture
def single(skopeo: Skopeo, registry: Registry, repository: str, tiny: TinyImage) -> str:
    """The name in the registry of an image for one platform."""
    skopeo.copy(f"oci:{tiny.layout}:{tiny.tag}", f"docker://{registry.reference(repository, 'v1')}")
    return f"{registry.address}/{repository}"


@pytest.fixture
def several(skopeo: Skopeo, registry: Registry, repository: str, multi_arch: dict[str, str]) -> str:
    """The name in the registry of an index with images for two platforms."""
    target = f"docker://{registry.reference(repository, 'v1')}"
    skopeo.copy(f"oci:{multi_arch['layout']}:v1", target, "--all")
    assert skopeo.digest(target) == multi_arch["index"]
    return f"{registry.address}/{repository}"


def prefetch(library: Library, *arguments: str) -> str:
    return library.nix.run(
        *(sys.executable, "-m", "nixdock", "prefetch", "--no-tls-verify", *arguments)
    )


def prefetch_json(library: Library, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(prefetch(library, "--json", *arguments))
    return found


def architecture_of(archive: Path) -> str:
    done = subprocess.run(
        ["skopeo", "inspect", "--config", f"docker-archive:{archive}"],
        capture_output=True,
        check=True,
    )
    found: str = json.loads(done.stdout)["architecture"]
    return found


def test_what_prefetch_prints_is_what_pull_image_builds(library: Library, single: str) -> None:
    printed = prefetch(library, single, "v1", "--final-image-name", "tiny")
    pull = f"{PULL_IMAGE} {printed}"
    archive = library.build(pull)
    assert archive.name.endswith("-docker-image-tiny-v1.tar")
    # Prefetching has put it into the store: only a check runs the builder.
    assert library.build(pull, "--check") == archive
    with pytest.raises(NixError, match="manifest unknown"):
        library.build(pull.replace(single, f"{single}-gone"), "--check")


def test_what_was_pulled_can_be_pushed(
    library: Library, registry: Registry, single: str, skopeo: Skopeo, tmp_path: Path
) -> None:
    pull = f"{PULL_IMAGE} {prefetch(library, single, 'v1', '--final-image-name', 'tiny')}"
    (program,) = (library.build(f"({pull}).push") / "bin").iterdir()
    target = f"{single}-again:v2"
    subprocess.run([program, "-q", target], env={"HOME": str(tmp_path)}, check=True)
    config = skopeo.config(f"docker://{target}")
    assert config["rootfs"] == skopeo.config(f"docker://{single}:v1")["rootfs"]


def test_an_image_of_store_paths_that_the_pull_needs_itself_refers_to_nothing(
    library: Library, registry: Registry, repository: str, skopeo: Skopeo
) -> None:
    pulled = library.evaluate(f'(({PULL_IMAGE} {{ {ANY} hash = "{ZERO}"; }}).drvAttrs)')
    assert isinstance(pulled, dict)
    # Its script reads arrays, so that must not depend on the default.
    assert pulled["__structuredAttrs"] is True
    assert pulled["unsafeDiscardReferences"] == {"out": True}
    if library.evaluate('builtins.compareVersions builtins.nixVersion "2.16" < 0'):
        # It can't discard references, and pulls no such image: `make newer-nix` goes on here.
        return
    image = library.build(
        'nixdock.buildLayeredImage { name = "own"; contents = [ pkgs.bash ]; compressor = "none"; }'
    )
    name = f"{registry.address}/{repository}"
    skopeo.copy(f"docker-archive:{image}", f"docker://{name}:v1", preserve_digests=False)
    printed = json.dumps(prefetch_json(library, name, "v1"))
    archive = library.build(f"{PULL_IMAGE} (builtins.fromJSON ''{printed}'')")
    # Prefetching has put it into the store: only a check runs the builder.
    library.build(f"{PULL_IMAGE} (builtins.fromJSON ''{printed}'')", "--check")
    assert library.nix.closure(archive) == [archive]


def test_pull_image_writes_the_bytes_that_skopeo_writes(
    library: Library, single: str, skopeo: Skopeo, tmp_path: Path
) -> None:
    result = prefetch_json(library, single, "v1", "--final-image-name", "other/name")
    archive = tmp_path / "plain.tar"
    skopeo.copy(
        f"docker://{single}@{result['imageDigest']}",
        f"docker-archive:{archive}:other/name:v1",
        preserve_digests=False,
    )
    pulled = library.build(f"{PULL_IMAGE} (builtins.fromJSON ''{json.dumps(result)}'')")
    assert pulled.read_bytes() == archive.read_bytes()


def test_docker_runs_a_pulled_image(library: Library, single: str, docker: Docker) -> None:
    printed = prefetch(library, single, "v1", "--final-image-name", "tiny", "--quiet")
    image = docker.load(library.build(f"{PULL_IMAGE} {printed}"))
    assert image == "tiny:v1"
    assert docker.run(image).stdout.strip() == "hello"


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
@pytest.mark.parametrize("by_digest", [False, True])
def test_an_index_is_prefetched_as_the_image_of_one_platform(
    library: Library,
    several: str,
    multi_arch: dict[str, str],
    architecture: str,
    by_digest: bool,
) -> None:
    version = multi_arch["index"] if by_digest else "v1"
    printed = prefetch_json(library, several, version, "--arch", architecture)
    assert printed["imageDigest"] == multi_arch[architecture]
    assert printed["tlsVerify"] is False
    # The digest says it all: pullImage needs not be told the platform, whatever its default is.
    pull = f"{PULL_IMAGE} (builtins.fromJSON ''{json.dumps(printed)}'')"
    archive = library.build(pull)
    assert library.build(pull, "--check") == archive
    assert architecture_of(archive) == architecture


def test_pull_image_chooses_from_an_index_by_its_digest(
    library: Library, several: str, multi_arch: dict[str, str]
) -> None:
    # What expressions written by hand, or with the old tool, do.
    for architecture in ("amd64", "arm64"):
        printed = prefetch_json(library, several, "v1", "--arch", architecture)
        printed |= {"imageDigest": multi_arch["index"], "arch": architecture}
        pull = f"{PULL_IMAGE} (builtins.fromJSON ''{json.dumps(printed)}'')"
        assert architecture_of(library.build(pull, "--check")) == architecture


def test_prefetch_names_the_platforms_of_an_index(library: Library, several: str) -> None:
    with pytest.raises(NixError, match=r"no image for linux/s390x; .*linux/amd64, linux/arm64"):
        prefetch(library, several, "v1", "--arch", "s390x")


def test_prefetch_tells_of_what_is_not_there(library: Library, single: str) -> None:
    with pytest.raises(NixError, match=f"skopeo can't read docker://{single}:none: .*manifest"):
        prefetch(library, single, "none")


def test_a_wrong_hash_is_an_error(library: Library, single: str) -> None:
    printed = prefetch_json(library, single, "v1") | {"hash": ZERO}
    with pytest.raises(NixError, match="hash mismatch"):
        library.build(f"{PULL_IMAGE} (builtins.fromJSON ''{json.dumps(printed)}'')")


def test_an_empty_hash_is_asked_for(library: Library, single: str) -> None:
    printed = prefetch_json(library, single, "v1")
    empty = json.dumps(printed | {"hash": "", "name": "unknown.tar"})
    with pytest.raises(NixError) as error:
        library.build(f"{PULL_IMAGE} (builtins.fromJSON ''{empty}'')")
    assert printed["hash"] in str(error.value)


def test_every_notation_of_the_hash_is_the_same_derivation(library: Library) -> None:
    forms = [
        f'hash = "{ZERO}";',
        f'sha256 = "{OTHER_ZERO}";',
        f'sha256 = "{ZERO}";',
        f'outputHash = "{OTHER_ZERO}"; outputHashAlgo = "sha256";',
        f'outputHash = "{ZERO}";',
    ]
    pulls = " ".join(f"({PULL_IMAGE} {{ {ANY} {form} }}).outPath" for form in forms)
    paths = library.evaluate(f"[ {pulls} ]")
    assert isinstance(paths, list)
    assert len(set(paths)) == 1


@pytest.mark.parametrize(
    ("hashes", "count"), [("", 0), (f'hash = "{ZERO}"; sha256 = "{ZERO}";', 2)]
)
def test_one_hash_is_needed(library: Library, hashes: str, count: int) -> None:
    with pytest.raises(NixError, match=f"give one of hash, sha256 and outputHash, not {count}"):
        library.evaluate(f"({PULL_IMAGE} {{ {ANY} {hashes} }}).outPath")


def test_arguments_and_attributes_of_pull_image(library: Library) -> None:
    found = library.evaluate(
        f"""let
          given = {{ {ANY} hash = "{ZERO}"; }};
          show = more: let p = {PULL_IMAGE} (given // more); in {{
            inherit (p) name imageName imageTag imageDigest;
            inherit (p.drvAttrs) source destination platform verification;
          }};
        in {{
          arguments = pkgs.lib.attrNames (pkgs.lib.functionArgs {PULL_IMAGE});
          plain = show {{ }};
          full = show {{ finalImageName = "host:5000/x/y"; finalImageTag = "V1"; os = "windows";
                         arch = "arm"; variant = "v7"; tlsVerify = false; }};
          named = (show {{ name = "n.tar"; }}).name;
        }}"""
    )
    digest = f"sha256:{'0' * 64}"
    assert found == {
        "arguments": sorted(
            [
                *("imageName", "imageDigest", "os", "arch", "variant", "name", "tlsVerify"),
                *("finalImageName", "finalImageTag"),
                *("hash", "sha256", "outputHash", "outputHashAlgo"),
            ]
        ),
        "plain": {
            "name": "docker-image-a-b-latest.tar",
            "imageName": "a/b",
            "imageTag": "latest",
            "imageDigest": digest,
            "source": f"docker://a/b@{digest}",
            "destination": "a/b:latest",
            "platform": ["--override-os=linux", "--override-arch=amd64"],
            "verification": "true",
        },
        "full": {
            "name": "docker-image-host-5000-x-y-V1.tar",
            "imageName": "host:5000/x/y",
            "imageTag": "V1",
            "imageDigest": digest,
            "source": f"docker://a/b@{digest}",
            "destination": "host:5000/x/y:V1",
            "platform": ["--override-os=windows", "--override-arch=arm", "--override-variant=v7"],
            "verification": "false",
        },
        "named": "n.tar",
    }


def test_pull_image_knows_certificates_and_proxies(library: Library) -> None:
    found = library.evaluate(
        f"""let p = {PULL_IMAGE} {{ {ANY} hash = "{ZERO}"; }}; in {{
          inherit (p.drvAttrs) impureEnvVars;
          certificates = p.drvAttrs.SSL_CERT_FILE
            == "${{pkgs.cacert}}/etc/ssl/certs/ca-bundle.crt";
        }}"""
    )
    assert found == {
        "impureEnvVars": [
            *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
            "NIX_SSL_CERT_FILE",
        ],
        "certificates": True,
    }


def test_the_program_nix_prefetch_docker_brings_skopeo(
    library: Library, single: str, tmp_path: Path
) -> None:
    common = f"import {LIBRARY}/common.nix {{ inherit pkgs; inherit (nixdock) package; }}"
    program = library.build(
        f"(import {LIBRARY}/programs.nix {{ common = {common}; }}).nix-prefetch-docker"
    )
    arguments = ("--no-tls-verify", "--json", "--quiet", single, "v1")
    (tmp_path / "nix-store").symlink_to(require_tool("nix-store"))
    env = library.nix.env | {"PATH": str(tmp_path)}
    done = subprocess.run(
        [program / "bin/nix-prefetch-docker", *arguments], env=env, capture_output=True, check=True
    )
    assert json.loads(done.stdout) == prefetch_json(library, single, "v1")
