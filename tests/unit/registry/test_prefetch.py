"""Prefetching with a stand-in for skopeo: choosing from an index, the output, and errors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from nixdock.cli import main
from nixdock.errors import ImageError, InputError, NixdockError, OutputError
from nixdock.nix.hashes import Hash
from nixdock.registry.prefetch import Prefetched, Remote, prefetch, resolve_digest

MANIFEST = json.dumps({"schemaVersion": 2, "config": {}, "layers": []}).encode()
LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def index(*platforms: str, **more: Any) -> tuple[bytes, dict[str, str]]:
    """Return an index with an entry for each platform, and the digest of each."""
    digests = {platform: digest_of(platform.encode()) for platform in platforms}
    manifests = []
    for platform, digest in digests.items():
        system, architecture, *variant = platform.split("/")
        described = {"os": system, "architecture": architecture}
        if variant:
            described["variant"] = variant[0]
        manifests.append(
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest,
                "size": 1,
                "platform": described,
            }
        )
    document = {"schemaVersion": 2, "manifests": manifests, **more}
    return json.dumps(document).encode(), digests


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that sets the manifests of a stand-in for skopeo, by tag or digest."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    def serve(**manifests: bytes) -> Path:
        for name, data in manifests.items():
            (tmp_path / name.replace("sha256_", "sha256:")).write_bytes(data)
        program = tmp_path / "bin/skopeo"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f"""#!/bin/sh
            echo "$*" >> {tmp_path}/asked
            for last; do :; done
            case "$*" in
              *" manifest-digest "*) echo sha256:$(sha256sum "$last" | cut -d' ' -f1) ;;
              *" copy "*) target=${{last#docker-archive:}}; echo archive > ${{target%%:*}} ;;
              *@*) cat "{tmp_path}/${{last##*@}}" || exit 0; cat /dev/null ;;
              *) cat "{tmp_path}/${{last##*:}}" ;;
            esac
            """
        )
        program.chmod(0o755)
        return tmp_path / "asked"

    return serve


def by_digest(*documents: bytes) -> dict[str, bytes]:
    return {digest_of(data).replace(":", "_"): data for data in documents}


def resolved(served: Callable[..., Path], tmp_path: Path, data: bytes, **remote: str) -> str:
    """Return the digest that `data` resolves to if all its entries are manifests."""
    entries = {
        entry["digest"].replace(":", "_"): MANIFEST for entry in json.loads(data)["manifests"]
    }
    served(latest=data, **entries)
    return resolve_digest(Remote("x", **remote), tmp_path)  # type: ignore[arg-type]


def test_a_manifest_resolves_to_its_own_digest(served: Callable[..., Path], tmp_path: Path) -> None:
    asked = served(v1=MANIFEST)
    assert resolve_digest(Remote("x", tag="v1"), tmp_path) == digest_of(MANIFEST)
    assert "--raw docker://x:v1\n" in asked.read_text()
    assert "--insecure-policy" in asked.read_text()


@pytest.mark.parametrize("media_type", [{}, {"mediaType": LIST_TYPE}])
def test_an_index_resolves_to_its_image_for_the_platform(
    served: Callable[..., Path], tmp_path: Path, media_type: dict[str, str]
) -> None:
    data, digests = index("linux/arm64", "linux/amd64", "windows/amd64", **media_type)
    assert resolved(served, tmp_path, data) == digests["linux/amd64"]
    assert resolved(served, tmp_path, data, architecture="arm64") == digests["linux/arm64"]
    assert resolved(served, tmp_path, data, os="windows") == digests["windows/amd64"]


@pytest.mark.parametrize(
    ("platforms", "architecture", "variant", "expected"),
    [
        (["linux/arm/v5", "linux/arm/v7"], "arm", "", "linux/arm/v7"),
        (["linux/arm/v5", "linux/arm/v7"], "arm", "v5", "linux/arm/v5"),
        (["linux/arm/v7", "linux/arm"], "arm", "", "linux/arm"),
        (["linux/arm", "linux/arm/v7"], "arm", "v7", "linux/arm/v7"),
        (["linux/arm64/v9", "linux/arm64/v8"], "arm64", "", "linux/arm64/v8"),
        (["linux/arm64"], "arm64", "v8", "linux/arm64"),
        (["linux/arm64/v8"], "arm64", "", "linux/arm64/v8"),
        (["linux/amd64/v3", "linux/amd64/v2"], "amd64", "", "linux/amd64/v3"),
    ],
)
def test_a_variant_is_chosen_the_same_way_everywhere(
    served: Callable[..., Path],
    tmp_path: Path,
    platforms: list[str],
    architecture: str,
    variant: str,
    expected: str,
) -> None:
    data, digests = index(*platforms)
    found = resolved(served, tmp_path, data, architecture=architecture, variant=variant)
    assert found == digests[expected]


@pytest.mark.parametrize(
    "remote", [{"architecture": "riscv64"}, {"os": "plan9"}, {"variant": "v5"}]
)
def test_a_missing_platform_is_an_error_that_names_the_existing_ones(
    served: Callable[..., Path], tmp_path: Path, remote: dict[str, str]
) -> None:
    data, _ = index("linux/arm/v7", "linux/amd64", "unknown/unknown")
    wanted = Remote("x", **{"architecture": "arm", **remote}).platform  # type: ignore[arg-type]
    message = f"has no image for {wanted}; .* it has: linux/amd64, linux/arm/v7, unknown/unknown"
    with pytest.raises(InputError, match=message):
        resolved(served, tmp_path, data, **{"architecture": "arm", **remote})


def test_nested_indexes_are_followed_up_to_a_limit(
    served: Callable[..., Path], tmp_path: Path
) -> None:
    inner, digests = index("linux/amd64")
    outer = inner.replace(digests["linux/amd64"].encode(), digest_of(inner).encode())
    leaf = {digests["linux/amd64"].replace(":", "_"): MANIFEST}
    served(latest=outer, **by_digest(inner), **leaf)
    assert resolve_digest(Remote("x"), tmp_path) == digests["linux/amd64"]
    served(latest=inner, **dict.fromkeys(leaf, inner))
    with pytest.raises(ImageError, match="nested too deeply"):
        resolve_digest(Remote("x"), tmp_path)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"manifests": 1}', b"{", b'{"a": 1, "a": 2}'])
def test_malformed_manifests_are_errors(
    served: Callable[..., Path], tmp_path: Path, data: bytes
) -> None:
    served(latest=data)
    with pytest.raises(ImageError, match=r"^the manifest of docker://x@sha256:\S+ "):
        resolve_digest(Remote("x"), tmp_path)


def test_malformed_digests_in_an_index_are_errors(
    served: Callable[..., Path], tmp_path: Path
) -> None:
    data, digests = index("linux/amd64")
    served(latest=data.replace(digests["linux/amd64"].encode(), b"sha256:../../x"))
    with pytest.raises(ImageError, match="is not a digest"):
        resolve_digest(Remote("x"), tmp_path)


def test_errors_of_skopeo_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NixdockError, match="skopeo is not in PATH: install it"):
        prefetch(Remote("x"))
    program = tmp_path / "skopeo"
    program.write_text("#!/bin/sh\necho one >&2; echo 'no such host' >&2; exit 1\n")
    program.chmod(0o755)
    with pytest.raises(ImageError, match=r"^skopeo can't read docker://x:latest: no such host$"):
        prefetch(Remote("x"))
    program.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(ImageError, match=r"docker://x@sha256:1: exit status 3$"):
        prefetch(Remote("x", digest="sha256:1"))


@pytest.mark.parametrize(
    ("logged", "told", "helps"),
    [
        (
            r"Get \"https://x/v2/\": http: server gave HTTP response to HTTPS client",
            'Get "https://x/v2/": http: server gave HTTP response to HTTPS client',
            True,
        ),
        ("x509: certificate has expired", "x509: certificate has expired", True),
        ("manifest unknown", "manifest unknown", False),
        (r"escape \x41", r'"escape \x41"', False),
    ],
)
def test_what_skopeo_logs_is_told_with_what_helps(
    logged: str, told: str, helps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    line = f'time="2026-01-02T03:04:05Z" level=fatal msg="{logged}"'
    program = tmp_path / "skopeo"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{line}' >&2; exit 1\n")
    program.chmod(0o755)
    with pytest.raises(ImageError) as failure:
        prefetch(Remote("x"))
    hint = "; --no-tls-verify accepts plain HTTP and any certificate" if helps else ""
    assert str(failure.value) == f"skopeo can't read docker://x:latest: {told}{hint}"
    with pytest.raises(ImageError) as failure:
        prefetch(Remote("x", tls_verify=False))
    assert "--no-tls-verify" not in str(failure.value)


def test_the_file_in_the_store_has_the_name_that_pull_image_uses(
    served: Callable[..., Path], tmp_path: Path
) -> None:
    served(v1=MANIFEST)
    store = tmp_path / "bin/nix-store"
    store.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/added; echo /nix/store/it\n')
    store.chmod(0o755)
    remote = Remote("host:5000/a/b", tag="v1", tls_verify=False)
    result = prefetch(remote, final_name="New/Name", algorithm="sha512")
    assert (tmp_path / "added").read_text().startswith("--add-fixed sha512 ")
    assert (tmp_path / "added").read_text().endswith("/docker-image-New-Name-v1.tar\n")
    assert result == Prefetched(
        name="host:5000/a/b",
        digest=digest_of(MANIFEST),
        hash=Hash("sha512", hashlib.sha512(b"archive\n").digest()),
        final_name="New/Name",
        final_tag="v1",
        path="/nix/store/it",
        tls_verify=False,
    )
    asked = (tmp_path / "asked").read_text()
    assert f"docker://host:5000/a/b@{digest_of(MANIFEST)} docker-archive:" in asked
    assert "--src-tls-verify=false" in asked
    store.write_text("#!/bin/sh\necho disk full >&2; exit 1\n")
    with pytest.raises(OutputError, match="can't add the image to the Nix store: disk full"):
        prefetch(remote)


RESULT = Prefetched(
    name="nixos/nix",
    digest=digest_of(b""),
    hash=Hash("sha256", bytes(32)),
    final_name="nix",
    final_tag="1",
    path="/nix/store/x",
)


def test_it_prints_nix_and_json() -> None:
    assert RESULT.to_nix() == (
        "{\n"
        '  imageName = "nixos/nix";\n'
        f'  imageDigest = "{digest_of(b"")}";\n'
        '  hash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";\n'
        '  finalImageName = "nix";\n'
        '  finalImageTag = "1";\n'
        "}"
    )
    assert json.loads(RESULT.to_json()) == RESULT.arguments()


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20))
def test_no_name_escapes_from_its_nix_string(name: str) -> None:
    text = Prefetched(name, "d", RESULT.hash, name, "t", "p").to_nix()
    string = text.splitlines()[1].removeprefix("  imageName = ").removesuffix(";")
    assert json.loads(string.replace("\\${", "${")) == name
    assert "${" not in string.replace("\\${", "")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["prefetch", *arguments])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the command asks for."""
    found: list[tuple[Any, ...]] = []

    def record(remote: Remote, **options: str) -> Prefetched:
        found.append((remote, *options.values()))
        return RESULT

    monkeypatch.setattr("nixdock.cli.prefetch.prefetch_image", record)
    monkeypatch.delenv("NIX_HASH_ALGO", raising=False)
    return found


DIGEST = digest_of(b"x")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a"], Remote("a")),
        (["a", "v1"], Remote("a", tag="v1")),
        (["a:v1"], Remote("a", tag="v1")),
        (["h:5000/a"], Remote("h:5000/a")),
        (["h:5000/a:v1", "v1"], Remote("h:5000/a", tag="v1")),
        (["a", DIGEST], Remote("a", digest=DIGEST)),
        ([f"a@{DIGEST}"], Remote("a", digest=DIGEST)),
        (["--image-name", "a", "--image-tag", "t"], Remote("a", tag="t")),
        (["--image-name", "a", "--image-digest", DIGEST], Remote("a", digest=DIGEST)),
        (
            ["--os", "o", "--arch", "c", "--variant", "v", "--no-tls-verify", "a"],
            Remote("a", os="o", architecture="c", variant="v", tls_verify=False),
        ),
    ],
)
def test_the_command_takes_what_nix_prefetch_docker_takes(
    asked: list[tuple[Any, ...]], arguments: list[str], expected: Remote
) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    assert asked == [(expected, "", "", "sha256")]
    assert result.stdout == f"{RESULT.to_nix()}\n"
    assert "-> ImageDigest: sha256:" in result.stderr
    assert "-> ImagePath: /nix/store/x\n" in result.stderr


def test_the_command_passes_names_on_and_is_quiet(
    asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIX_HASH_ALGO", "sha512")
    result = run("a", "--final-image-name", "b", "--final-image-tag", "c", "--json", "--quiet")
    assert asked == [(Remote("a"), "b", "c", "sha512")]
    assert json.loads(result.stdout) == RESULT.arguments()
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no image is given"),
        (["a", "--image-name", "b"], "two names are given, 'b' and 'a'"),
        (["a:x", "y"], "two tags are given, 'y' and 'x'"),
        (["a", "sha256:12"], "'sha256:12' is not a digest"),
    ],
)
def test_the_command_refuses_what_is_missing_or_contradicts(
    asked: list[tuple[Any, ...]], arguments: list[str], message: str
) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


def test_the_command_refuses_an_unknown_hash(
    asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIX_HASH_ALGO", "crc")
    assert "NIX_HASH_ALGO is 'crc': expected sha256 or sha512" in str(run("a").exception)
