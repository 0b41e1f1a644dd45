"""Images come from the mirrors that registries.conf names, and go to the registry itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import nixdock
from nixdock.cli import main
from nixdock.oci.descriptor import Platform
from nixdock.oci.registry_reference import RegistryReference
from nixdock.registry.access import Access
from nixdock.registry.pull_places import access_to, find_image
from nixdock.registry.transport import Transport
from nixdock.transfer.targets import Registries

from .fake_registry import FakeRegistry, Fault, fake_registry
from .filling import fill

Write = Callable[..., Path]
# Nobody answers there.
NOWHERE = "127.0.0.1:9"


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


@pytest.fixture
def mirror() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def layout(tmp_path: Path, sample_spec: Write) -> Path:
    spec = sample_spec(tmp_path, layering={})
    run("build", spec, "-q", "--format", "oci-layout", "-o", tmp_path / "layout")
    return tmp_path / "layout"


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def configure(text: str) -> None:
        (tmp_path / "registries.conf").write_text(text)
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))

    return configure


def mirrored(host: str, *mirrors: str) -> str:
    tables = "".join(f'[[registry.mirror]]\nlocation = "{mirror}"\n' for mirror in mirrors)
    return f'[[registry]]\nlocation = "{host}"\n{tables}'


@pytest.mark.parametrize("command", ["inspect", "verify", "pull", "copy"])
def test_a_mirror_has_the_image(
    command: str,
    fake: FakeRegistry,
    mirror: FakeRegistry,
    layout: Path,
    tmp_path: Path,
    configure: Callable[[str], None],
) -> None:
    fill(mirror, "cache/team/app", layout, "v1")
    configure(mirrored(fake.host, f"{mirror.host}/cache"))
    source = f"docker://{fake.host}/team/app:v1"
    more: dict[str, tuple[str | Path, ...]] = {
        "pull": ("-o", tmp_path / "out", "--format", "oci-layout"),
        "copy": (f"oci:{tmp_path / 'out'}:v1",),
    }
    run(command, source, *more.get(command, ()))
    assert not fake.routes()
    assert mirror.routes("GET", "manifests/v1")
    if command == "pull":
        # The image has the name by which it was asked for.
        index = json.loads((tmp_path / "out/index.json").read_bytes())
        (entry,) = index["manifests"]
        name = entry["annotations"]["io.containerd.image.name"]
        assert name == f"{fake.host}/team/app:v1"


def test_a_mirror_that_lacks_it_or_is_away(
    fake: FakeRegistry,
    mirror: FakeRegistry,
    layout: Path,
    configure: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    digest = fill(fake, "team/app", layout, "v1")
    configure(mirrored(fake.host, NOWHERE, mirror.host))
    source = f"{fake.host}/team/app:v1"
    with caplog.at_level("INFO", "nixdock"):
        found = run("inspect", "--json", f"docker://{source}").stdout
    assert digest in found
    assert mirror.routes("GET", "manifests/v1")
    (message,) = caplog.messages
    assert message.startswith(f"the next place is asked for {source}, because of its mirror: ")
    assert NOWHERE in message


def test_a_mirror_can_not_pass_off_another_image(
    fake: FakeRegistry, mirror: FakeRegistry, layout: Path, configure: Callable[[str], None]
) -> None:
    digest = fill(fake, "team/app", layout, "v1")
    fill(mirror, "team/app", layout, "v1")
    mirror.faults.append(Fault("GET", f"manifests/{digest}", status=200, body=b"{}", times=9))
    configure(mirrored(fake.host, mirror.host))
    run("inspect", f"docker://{fake.host}/team/app@{digest}")
    assert fake.routes("GET", "manifests")


def test_a_push_goes_to_the_registry_itself(
    fake: FakeRegistry,
    mirror: FakeRegistry,
    layout: Path,
    configure: Callable[[str], None],
) -> None:
    configure(
        f'[[registry]]\nprefix = "{fake.host}/team"\nlocation = "{mirror.host}/elsewhere"\n'
        f'[[registry.mirror]]\nlocation = "{mirror.host}"\n'
    )
    run("push", "-q", "--no-cache", f"oci:{layout}", f"{fake.host}/team/app:v1")
    assert fake.manifest("team/app", "v1") is not None
    assert not mirror.routes("PUT|POST")
    assert run("tags", f"{fake.host}/team/app").stdout == "v1\n"


def test_what_is_attached_is_read_at_the_registry_itself(
    fake: FakeRegistry,
    mirror: FakeRegistry,
    layout: Path,
    tmp_path: Path,
    configure: Callable[[str], None],
) -> None:
    for registry in (fake, mirror):
        fill(registry, "team/app", layout, "v1")
    name = f"docker://{fake.host}/team/app:v1"
    (tmp_path / "note").write_text("of the registry")
    run("attach", name, "--file", tmp_path / "note", "--type", "text/plain")
    configure(mirrored(fake.host, mirror.host))
    copied = tmp_path / "copied"
    run("copy", name, f"oci:{copied}:v1", "--referrers")
    run("referrers", f"oci:{copied}:v1", "--type", "text/plain", "-o", tmp_path / "read")
    assert (tmp_path / "read").read_text() == "of the registry"
    assert mirror.routes("GET", "blobs")


def test_a_reused_image_is_read_from_another_location(
    fake: FakeRegistry,
    mirror: FakeRegistry,
    layout: Path,
    tmp_path: Path,
    sample_spec: Write,
    configure: Callable[[str], None],
) -> None:
    fill(mirror, "inner/old", layout, "v1")
    spec = sample_spec(tmp_path, layering={})
    configure(f'[[registry]]\nprefix = "{fake.host}/old"\nlocation = "{mirror.host}/inner/old"\n')
    reuse = ("--reuse", f"docker://{fake.host}/old:v1")
    run("push", "-q", "--no-cache", *reuse, spec, f"{fake.host}/team/app:v1")
    assert mirror.routes("GET", "manifests/v1")


def test_another_location(
    fake: FakeRegistry, mirror: FakeRegistry, layout: Path, configure: Callable[[str], None]
) -> None:
    digest = fill(mirror, "inner/app", layout, "v1")
    configure(f'[[registry]]\nprefix = "{fake.host}/team"\nlocation = "{mirror.host}/inner"\n')
    assert digest in run("inspect", "--json", f"docker://{fake.host}/team/app:v1").stdout
    assert not fake.routes()


def test_a_blocked_registry(fake: FakeRegistry, configure: Callable[[str], None]) -> None:
    configure(f'[[registry]]\nlocation = "{fake.host}"\nblocked = true\n')
    name = f"docker://{fake.host}/team/app:v1"
    with pytest.raises(nixdock.InputError, match=rf"blocks {fake.host}, and so {name[9:]}"):
        main.main(["inspect", name], standalone_mode=False)
    assert not fake.routes()


def test_chosen_credentials_are_for_the_registry_alone(
    fake: FakeRegistry, mirror: FakeRegistry, layout: Path, configure: Callable[[str], None]
) -> None:
    fill(fake, "team/app", layout, "v1")
    for registry in (fake, mirror):
        registry.accounts.kind = "basic"
        registry.accounts.passwords["me"] = "secret"
    configure(mirrored(fake.host, mirror.host))
    source = f"docker://{fake.host}/team/app:v1"
    result = CliRunner().invoke(
        main, ["inspect", source, "--username", "me", "--password-stdin"], input="secret"
    )
    assert result.exit_code == 0, result.output
    secret = base64.b64encode(b"me:secret").decode()
    sent = [str(each.headers) for each in mirror.requests()]
    assert sent
    assert not any(secret in headers or "secret" in headers for headers in sent)


def test_a_registry_that_need_not_be_secure(configure: Callable[[str], None]) -> None:
    configure('[[registry]]\nprefix = "*.example.com"\ninsecure = true\n')
    chosen = Access(attempts=2)
    assert access_to(RegistryReference.parse("a.example.com/x"), chosen).insecure
    assert access_to(RegistryReference.parse("a.example.org/x"), chosen) is chosen


def test_a_broken_credential_helper_for_a_mirror_is_no_obstacle(
    fake: FakeRegistry,
    layout: Path,
    tmp_path: Path,
    configure: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digest = fill(fake, "team/app", layout, "v1")
    with fake_registry() as mirror:
        mirror.accounts.kind = "basic"
        configure(mirrored(fake.host, mirror.host))
        auth = tmp_path / "auth.json"
        auth.write_text(json.dumps({"credHelpers": {mirror.host: "not-there"}}))
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(auth))
        source = f"docker://{fake.host}/team/app@{digest}"
        run("inspect", source)
    assert fake.routes("GET", "manifests")


def test_what_a_program_finds_is_for_mirrors_too(
    fake: FakeRegistry, mirror: FakeRegistry, layout: Path, configure: Callable[[str], None]
) -> None:
    fill(mirror, "team/app", layout, "v1")
    mirror.accounts.kind = "basic"
    mirror.accounts.passwords["me"] = "of the mirror"
    configure(mirrored(fake.host, mirror.host))
    hosts = []

    def find(host: str, _repository: str) -> nixdock.Credentials:
        hosts.append(host)
        return nixdock.Credentials("me", "of the mirror")

    access = Access(find=find, credentials=nixdock.Credentials("me", "of the registry"))
    reference = RegistryReference.parse(f"{fake.host}/team/app:v1")
    repository, _ = find_image(reference, access)
    assert repository.host == mirror.host
    assert set(hosts) == {mirror.host}


def test_repositories_of_a_host_may_differ(configure: Callable[[str], None]) -> None:
    configure('[[registry]]\nlocation = "a.example/dev"\ninsecure = true\n')
    registries = Registries(Access(), Platform())
    for name, insecure in (("dev", True), ("prod", False), ("dev", True)):
        repository = registries.repository(RegistryReference.parse(f"a.example/{name}/x"))
        assert repository.transport.access.insecure is insecure


def test_a_login_at_a_registry_that_need_not_be_secure(
    tmp_path: Path, configure: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    asked = []
    monkeypatch.setattr(
        Transport, "check_login", lambda self, _: asked.append(self.access.insecure)
    )
    configure('[[registry]]\nlocation = "a.example"\ninsecure = true\n')
    for host in ("a.example", "b.example"):
        nixdock.login_registry(host, "me", "secret")
    assert asked == [True, False]


def test_chosen_credentials_do_not_go_where_a_reused_image_has_moved(
    fake: FakeRegistry,
    mirror: FakeRegistry,
    layout: Path,
    tmp_path: Path,
    sample_spec: Write,
    configure: Callable[[str], None],
) -> None:
    fill(mirror, "inner/old", layout, "v1")
    # The other registry asks first.
    mirror.accounts.kind = "basic"
    mirror.accounts.passwords["me"] = "secret"
    configure(f'[[registry]]\nprefix = "{fake.host}/old"\nlocation = "{mirror.host}/inner/old"\n')
    spec = str(sample_spec(tmp_path, layering={}))
    reuse = ("--reuse", f"docker://{fake.host}/old:v1")
    user = ("--username", "me", "--password-stdin")
    target = f"{fake.host}/team/app:v1"
    result = CliRunner().invoke(
        main, ["push", "-q", "--no-cache", *reuse, *user, spec, target], input="secret"
    )
    assert isinstance(result.exception, nixdock.RegistryError)
    assert f"{mirror.host}/inner/old" in str(result.exception)
    secret = base64.b64encode(b"me:secret").decode()
    assert mirror.routes("GET", "manifests/v1")
    assert not any(secret in str(each.headers) for each in mirror.requests())
