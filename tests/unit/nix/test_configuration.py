from __future__ import annotations

from pathlib import Path

import pytest

from nixdock.errors import InputError
from nixdock.nix.configuration import nix_settings

NIXOS = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="


def keys(directory: Path, **environment: str) -> list[str]:
    found = nix_settings({"NIX_CONF_DIR": str(directory), **environment})
    return list(found.trusted_public_keys)


def test_without_files_the_key_is_that_of_nixos(tmp_path: Path) -> None:
    found = nix_settings({"NIX_CONF_DIR": str(tmp_path), "HOME": str(tmp_path)})
    assert found.trusted_public_keys == (NIXOS,)
    assert found.netrc_file == tmp_path / "netrc"


def test_later_files_count_and_extra_keys_are_added(tmp_path: Path) -> None:
    (tmp_path / "nix.conf").write_text(
        "# trusted-public-keys = x:\nextra-trusted-public-keys = a:1  b:2 # c:3\ncores = 4\n"
    )
    assert keys(tmp_path, HOME="/none") == [NIXOS, "a:1", "b:2"]
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("trusted-public-keys = c:3\n")
    second.write_text("binary-cache-public-keys = d:4\nextra-binary-cache-public-keys = e:5\n")
    both = {"NIX_USER_CONF_FILES": f"{first}:{second}"}
    assert keys(tmp_path, **both) == ["c:3"]
    assert keys(tmp_path, NIX_USER_CONF_FILES=str(second)) == ["d:4", "e:5"]
    extra = "netrc-file = /x\nextra-trusted-public-keys = f:6\n"
    assert keys(tmp_path, NIX_CONFIG=extra, **both) == ["c:3", "f:6"]
    found = nix_settings({"NIX_CONF_DIR": str(tmp_path), "NIX_CONFIG": extra})
    assert found.netrc_file == Path("/x")


def test_signatures_may_not_be_required(tmp_path: Path) -> None:
    def required(text: str) -> bool:
        environment = {"NIX_CONF_DIR": str(tmp_path), "NIX_CONFIG": text}
        return nix_settings(environment).require_signatures

    assert required("")
    (tmp_path / "nix.conf").write_text("require-sigs = false\n")
    assert not required("")
    assert required("require-sigs = true\n")
    for value in ("no", "0"):
        assert not required(f"require-sigs = {value}\n")


def test_the_users_own_files(tmp_path: Path) -> None:
    own = tmp_path / ".config/nix/nix.conf"
    own.parent.mkdir(parents=True)
    own.write_text("trusted-public-keys = own:1\n")
    shared = tmp_path / "xdg/nix/nix.conf"
    shared.parent.mkdir(parents=True)
    shared.write_text("trusted-public-keys = shared:1\nnetrc-file = /shared\n")
    environment = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "xdg")}
    assert keys(tmp_path, **environment) == ["own:1"]
    assert keys(tmp_path, XDG_CONFIG_HOME=str(tmp_path / "xdg"), HOME="") == ["shared:1"]


def test_files_that_are_included(tmp_path: Path) -> None:
    (tmp_path / "nix.conf").write_text("include more/keys.conf\n!include none.conf\n")
    more = tmp_path / "more"
    more.mkdir()
    (more / "keys.conf").write_text("trusted-public-keys = a:1\ninclude other.conf\n")
    (more / "other.conf").write_text("extra-trusted-public-keys = b:2\n")
    assert keys(tmp_path, HOME="/none") == ["a:1", "b:2"]
    (more / "other.conf").write_text("include other.conf\n")
    with pytest.raises(InputError, match=r"includes too many files: other\.conf"):
        keys(tmp_path, HOME="/none")
    (more / "other.conf").unlink()
    with pytest.raises(InputError) as caught:
        keys(tmp_path, HOME="/none")
    assert str(caught.value) == f"Nix's configuration {more}/other.conf does not exist"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "nix.conf").mkdir()
    with pytest.raises(InputError, match=r"can't read Nix's configuration .*: Is a directory"):
        keys(tmp_path)
