"""Writing credential files: what stays, modes, links, concurrent logins, and other programs."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nixdock.errors import InputError, OutputError
from nixdock.registry.auth_file import (
    remove_all_credentials,
    remove_credentials,
    store_credentials,
)
from nixdock.registry.auth_sources import login_file
from nixdock.registry.credentials import Credentials, encoded, find_credentials
from nixdock.registry.registry_name import RegistryName
from tests.runtime.command import require_tool, run_tool
from tests.unit.auth_files import SECRET, Home, auths, basic


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "runtime").mkdir()
    (tmp_path / "home").mkdir()
    return Home(tmp_path)


def login(home: Home, name: str, user: str = "user", **variables: str) -> Path:
    environment = home.environment | variables
    return store_credentials(
        RegistryName.parse(name),
        Credentials(user, SECRET),
        environment=environment,
        run=home.root / "run",
    )


def logout(home: Home, name: str, **variables: str) -> Path:
    return remove_credentials(
        RegistryName.parse(name),
        environment=home.environment | variables,
        run=home.root / "run",
    )


def found(home: Home, host: str, repository: str = "") -> Credentials | None:
    return find_credentials(host, repository, environment=home.environment, run=home.root / "run")


def read(file: Path) -> object:
    return json.loads(file.read_text())


# The place.


def test_the_file_is_that_of_podman(home: Home) -> None:
    explicit = home.root / "explicit.json"
    assert login(home, "a.io", REGISTRY_AUTH_FILE=str(explicit)) == explicit
    assert login(home, "a.io") == home.root / "runtime/containers/auth.json"
    assert read(explicit) == auths(a_io="user")


def test_without_a_runtime_directory_it_is_below_the_settings(home: Home) -> None:
    (home.root / "runtime").rmdir()
    assert login(home, "a.io") == home.root / "home/.config/containers/auth.json"
    assert found(home, "a.io") == Credentials("user", SECRET)
    settings = str(home.root / "settings")
    assert login(home, "a.io", XDG_CONFIG_HOME=settings) == Path(settings, "containers/auth.json")


def test_the_place_without_a_session(tmp_path: Path) -> None:
    environment = {"HOME": "/home/me"}
    run, settings = tmp_path / "run", Path("/home/me/.config/containers/auth.json")

    def place(user: int) -> Path:
        return login_file(environment, run=run, user=user)

    assert place(0) == place(1000) == settings
    run.mkdir()
    # Only root can create its directory in /run.
    assert (place(0), place(1000)) == (run / "containers/0/auth.json", settings)
    (run / "containers/1000").mkdir(parents=True)
    assert place(1000) == run / "containers/1000/auth.json"
    # A directory of a session that is over is not created again.
    environment["XDG_RUNTIME_DIR"] = str(run / "user/0")
    assert place(0) == settings


def test_a_user_without_any_place(tmp_path: Path) -> None:
    message = "^there is no place for credentials: .* name a file in REGISTRY_AUTH_FILE$"
    with pytest.raises(InputError, match=message):
        login_file({}, run=tmp_path, user=2**31 - 7)


# The contents.


def test_all_else_stays(home: Home) -> None:
    before = {
        "HttpHeaders": {"x": ["y"]},
        "auths": {"b.io": {**basic("b"), "more": 1}, "a.io": {"identitytoken": "old"}},
        "credHelpers": {"c.io": "keys"},
    }
    file = home.write("runtime/containers/auth.json", before)
    login(home, "a.io")
    login(home, "a.io/ns", "other")
    entries = {"b.io": {**basic("b"), "more": 1}, "a.io": basic(), "a.io/ns": basic("other")}
    assert read(file) == before | {"auths": entries}
    logout(home, "a.io")
    del entries["a.io"]
    assert read(file) == before | {"auths": entries}


@pytest.mark.parametrize("text", ["", " \n", "{}", '{"auths": null}'])
def test_an_empty_file(home: Home, text: str) -> None:
    file = home.write("runtime/containers/auth.json", text)
    assert login(home, "a.io") == file
    assert read(file) == auths(a_io="user")


def test_entries_in_other_spellings_are_replaced_and_removed(home: Home) -> None:
    keys = ["https://index.docker.io/v1/", "index.docker.io", "docker.io/ns", "a.io"]
    file = home.write("runtime/containers/auth.json", {"auths": {key: basic() for key in keys}})
    login(home, "registry-1.docker.io", "new")
    document = {key: basic() for key in keys[2:]} | {"docker.io": basic("new")}
    assert read(file) == {"auths": document}
    home.write("runtime/containers/auth.json", {"auths": {key: basic() for key in keys}})
    logout(home, "docker.io")
    assert read(file) == {"auths": {key: basic() for key in keys[2:]}}


def test_all_credentials_are_removed(home: Home) -> None:
    file = home.write("runtime/containers/auth.json", {**auths(a_io="a", b_io="b"), "more": 1})
    assert remove_all_credentials(environment=home.environment) == file
    assert read(file) == {"auths": {}, "more": 1}


def test_a_file_without_credentials_is_left_alone(home: Home) -> None:
    file = home.root / "runtime/containers/auth.json"
    assert remove_all_credentials(environment=home.environment) == file
    assert not file.parent.exists()
    with pytest.raises(InputError) as caught:
        logout(home, "a.io")
    assert str(caught.value) == f"{file} has no credentials for a.io"
    assert not file.parent.exists()


def test_credentials_in_other_files_are_named(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    docker = home.write("home/.docker/config.json", auths(a_io="docker"))
    home.write("home/.dockercfg", "damaged")
    with pytest.raises(InputError) as caught:
        logout(home, "a.io/ns")
    file = home.root / "runtime/containers/auth.json"
    assert str(caught.value) == (
        f"{file} has no credentials for a.io/ns; {docker} has some: remove them with the program"
        " that wrote it"
    )
    login(home, "a.io")
    logout(home, "a.io")
    assert caplog.messages == [f"{docker} still has credentials for a.io"]


def test_a_damaged_file_is_left_as_it_is(home: Home) -> None:
    file = home.write("runtime/containers/auth.json", f'{{"auths": "{SECRET}"}}')
    for change in (login, logout):
        with pytest.raises(InputError) as caught:
            change(home, "a.io")
        assert caught.value.path == str(file)
        assert SECRET not in str(caught.value)
    assert file.read_text() == f'{{"auths": "{SECRET}"}}'


# Names and credentials.


@pytest.mark.parametrize(
    ("text", "name", "scheme"),
    [
        ("ghcr.io", "ghcr.io", None),
        ("GHCR.io:443", "ghcr.io:443", None),
        ("localhost:5000", "localhost:5000", None),
        ("[::1]:5000/x", "[::1]:5000/x", None),
        ("ghcr.io/me/", "ghcr.io/me", None),
        ("ghcr.io/me/my_app", "ghcr.io/me/my_app", None),
        ("index.docker.io", "docker.io", None),
        ("https://index.docker.io/v1/", "docker.io", "https://"),
        ("https://ghcr.io", "ghcr.io", "https://"),
        ("HTTPS://ghcr.io/v2/", "ghcr.io", "HTTPS://"),
        ("http://localhost:5000/", "localhost:5000", "http://"),
        ("https://ghcr.io/me", "ghcr.io/me", "https://"),
    ],
)
def test_names_of_registries(
    text: str, name: str, scheme: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert str(RegistryName.parse(text)) == name
    warning = f"the name of a registry contains no {scheme}: using {name}"
    assert caplog.messages == ([warning] if scheme else [])


@pytest.mark.parametrize(
    "text",
    [
        "", "https://", "/x", "a b", "a.io/A", "a.io//x", "a.io/x:tag", "ftp://a.io", "a.io\n",
        "-a.io", "a_b.io", "a.io:port", "a.io/../x",
    ],
)  # fmt: skip
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=r"is not the name of a registry: expected HOST\[:PORT\]"):
        RegistryName.parse(text)


def test_a_password_in_the_name_is_not_shown() -> None:
    with pytest.raises(InputError) as caught:
        RegistryName.parse(f"https://me:{SECRET}@ghcr.io")
    assert str(caught.value) == (
        "the name of a registry contains no user name, password or digest: expected"
        " HOST[:PORT][/NAMESPACE]"
    )


@pytest.mark.parametrize(
    ("user", "password", "message"),
    [
        ("", "x", "the user name is empty; give one"),
        ("x", "", "the password is empty; give one"),
        ("a:b", SECRET, "the user name contains a colon, which registries can't accept"),
        ("x", f"{SECRET}\udcff", "the user name or the password is not UTF-8 text"),
        ("\udcff", SECRET, "the user name or the password is not UTF-8 text"),
        *(
            (
                "x",
                f"{SECRET}{control}",
                "the user name or the password contains a control character, such as a second line",
            )
            for control in "\n\0\x7f"
        ),
    ],
)
def test_credentials_that_can_not_be_used(
    home: Home, user: str, password: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        encoded(Credentials(user, password))
    assert str(caught.value) == message


HOSTS = st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,4}){1,2}(:[1-9][0-9]{0,3})?", fullmatch=True)
REPOSITORIES = st.from_regex(r"([a-z]{1,4}(/[a-z]{1,4}){0,2})?", fullmatch=True)
TEXT = st.text(
    st.characters(
        exclude_categories=["Cs"], exclude_characters=[chr(c) for c in [*range(32), 127]]
    ),
    min_size=1,
)


@given(host=HOSTS, repository=REPOSITORIES, user=TEXT.filter(lambda t: ":" not in t), password=TEXT)
def test_what_is_stored_is_found(host: str, repository: str, user: str, password: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        environment = {"HOME": directory, "XDG_RUNTIME_DIR": directory}
        name = RegistryName.parse(f"{host}/{repository}")
        given_credentials = Credentials(user, password)
        store_credentials(name, given_credentials, environment=environment)
        below = f"{repository}/below" if repository else "below"
        for each in (repository, below):
            assert find_credentials(host, each, environment=environment) == given_credentials
        assert find_credentials(f"x{host}", repository, environment=environment) is None
        remove_credentials(name, environment=environment)
        assert find_credentials(host, repository, environment=environment) is None


# Helpers.


@pytest.mark.parametrize("settings", [{"credsStore": "keys"}, {"credHelpers": {"a.io": "keys"}}])
def test_a_helper_keeps_the_password(home: Home, settings: dict[str, object]) -> None:
    home.keeping_helper("keys")
    file = home.write("runtime/containers/auth.json", {**settings, **auths(a_io="old")})
    login(home, "a.io")
    assert read(file) == {**settings, "auths": {"a.io": {}}}
    assert found(home, "a.io", "ns/repo") == Credentials("user", SECRET)
    logout(home, "a.io")
    assert read(file) == {**settings, "auths": {}}
    assert found(home, "a.io") is None
    with pytest.raises(InputError, match=r"has no credentials for a\.io$"):
        logout(home, "a.io")


def test_a_helper_forgets_all(home: Home) -> None:
    home.keeping_helper("keys")
    file = home.write("runtime/containers/auth.json", {"credsStore": "keys"})
    for name in ("a.io", "docker.io"):
        login(home, name)
    kept = home.root / "kept"
    assert sorted(os.listdir(kept)) == ["a.io", "https:__index.docker.io_v1_"]
    remove_all_credentials(environment=home.environment)
    assert os.listdir(kept) == []
    assert read(file) == {"credsStore": "keys", "auths": {}}


def test_a_helper_has_no_namespaces(home: Home) -> None:
    home.keeping_helper("keys")
    file = home.write("runtime/containers/auth.json", {"credsStore": "keys"})
    with pytest.raises(InputError) as caught:
        login(home, "a.io/ns")
    assert str(caught.value) == (
        f"docker-credential-keys, which {file} names, keeps credentials for whole registries:"
        " log in to a.io, or name another file in REGISTRY_AUTH_FILE"
    )


# The file.


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_can_read_it(home: Home, umask: int) -> None:
    (home.root / "runtime").rmdir()
    before = os.umask(umask)
    try:
        file = login(home, "a.io")
    finally:
        os.umask(before)
    assert mode(file) == 0o600
    assert mode(file.parent) == mode(file.parent.parent) == 0o700
    assert sorted(os.listdir(file.parent)) == [".auth.json.lock", "auth.json"]


def test_a_public_file_becomes_private(home: Home) -> None:
    file = home.write("runtime/containers/auth.json", auths(b_io="b"))
    file.chmod(0o666)
    file.parent.chmod(0o755)
    login(home, "a.io")
    assert (mode(file), mode(file.parent)) == (0o600, 0o755)


def test_a_symlink_of_the_user_stays(home: Home) -> None:
    real = home.write("dotfiles/auth.json", auths(b_io="b"))
    link = home.root / "runtime/containers/auth.json"
    link.parent.mkdir()
    link.symlink_to("../../dotfiles/auth.json")
    assert login(home, "a.io") == link
    assert link.is_symlink()
    assert read(real) == auths(b_io="b", a_io="user")
    assert mode(real) == 0o600


def test_a_symlink_of_another_user_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = home.write("victim.json", {})
    link = home.root / "auth.json"
    link.symlink_to(victim)
    if os.geteuid() == 0:
        os.lchown(link, 4711, 4711)
    else:
        # Only root can make a link of another user, but everybody can be taken for one.
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(OutputError) as caught:
        login(home, "a.io", REGISTRY_AUTH_FILE=str(link))
    message = f"{link} is a symlink that belongs to another user; name another file"
    assert str(caught.value) == message
    assert read(victim) == {}


def test_a_lock_that_is_a_symlink_is_refused(home: Home) -> None:
    victim = home.root / "victim"
    (home.root / ".auth.json.lock").symlink_to(victim)
    with pytest.raises(OutputError, match=r"^can't lock .*: Too many levels of symbolic links$"):
        login(home, "a.io", REGISTRY_AUTH_FILE=str(home.root / "auth.json"))
    assert not victim.exists()


def test_places_that_are_no_files(home: Home) -> None:
    circle, pipe, blocked = (home.root / name for name in ("circle", "pipe", "file/auth.json"))
    circle.symlink_to(circle)
    os.mkfifo(pipe)
    blocked.parent.touch()
    for place in (home.root, circle, blocked, Path("/dev/null"), Path("/proc/none/auth.json")):
        with pytest.raises((InputError, OutputError)) as caught:
            login(home, "a.io", REGISTRY_AUTH_FILE=str(place))
        assert str(place) in str(caught.value) or str(place.parent) in str(caught.value)
        assert SECRET not in str(caught.value)


def _login_often(root: Path, worker: int) -> None:
    for number in range(5):
        login(Home(root), f"w{worker}.io/n{number}")


@pytest.mark.slow
def test_concurrent_logins_lose_nothing(home: Home) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_login_often, args=(home.root, n)) for n in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    file = home.root / "runtime/containers/auth.json"
    names = {f"w{worker}.io/n{number}" for worker in range(6) for number in range(5)}
    document = json.loads(file.read_text())
    assert document["auths"].keys() == names


def test_a_killed_login_leaves_the_old_file(home: Home) -> None:
    """Stop a login in another process before the rename, and kill it."""
    file = home.write("runtime/containers/auth.json", auths(b_io="b"))
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from nixdock.registry import auth_file\n"
        "from nixdock.registry.credentials import Credentials\n"
        "from nixdock.registry.registry_name import RegistryName\n"
        "Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"auth_file.store_credentials(RegistryName('a.io'), Credentials('u', {SECRET!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=home.environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert read(file) == auths(b_io="b")
    login(home, "c.io")
    assert read(file) == auths(b_io="b", c_io="user")
    assert sorted(os.listdir(file.parent)) == [".auth.json.lock", "auth.json"]


# Other programs.


def run(home: Home, *argv: str) -> str:
    return run_tool([require_tool(argv[0]), *argv[1:]], env=home.environment).stdout.strip()


@pytest.mark.tools
@pytest.mark.parametrize("program", ["skopeo", "podman"])
def test_others_read_what_is_written(home: Home, program: str) -> None:
    login(home, "a.io", "ä user")
    login(home, "docker.io", "hub")
    login(home, "b.io/ns/repo", "ns")
    # The login to the second host was removed again.
    login(home, "c.io", "gone")
    file = logout(home, "c.io")
    assert run(home, program, "login", "--get-login", "a.io") == "ä user"
    assert run(home, program, "login", "--get-login", "docker.io") == "hub"
    assert run(home, program, "login", "--get-login", "b.io/ns/repo") == "ns"
    assert run(home, program, "login", "--authfile", str(file), "--get-login", "a.io") == "ä user"
    for host in ("b.io", "c.io", "a.io.evil.com"):
        with pytest.raises(AssertionError, match="not logged into"):
            run(home, program, "login", "--get-login", host)


@pytest.mark.tools
@pytest.mark.parametrize("program", ["skopeo", "podman"])
def test_others_remove_what_is_written(home: Home, program: str) -> None:
    for name in ("a.io", "docker.io", "b.io/ns"):
        login(home, name)
        run(home, program, "logout", name)
        assert found(home, name.partition("/")[0], "ns") is None


@pytest.mark.tools
@pytest.mark.parametrize("kind", ["entry", "flat"])
def test_others_find_the_same_in_files_of_docker(home: Home, kind: str) -> None:
    entries = {"https://index.docker.io/v1/": basic("hub"), "https://a.io/v1/": basic("a")}
    if kind == "flat":
        home.write("home/.dockercfg", entries)
    else:
        home.write("home/.docker/config.json", {"auths": entries})
    for host, user in (("docker.io", "hub"), ("a.io", "a")):
        assert run(home, "skopeo", "login", "--get-login", host) == user
        assert found(home, host) == Credentials(user, SECRET)
