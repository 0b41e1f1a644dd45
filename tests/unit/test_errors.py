from __future__ import annotations

import pickle

import pytest

from nixdock import errors
from nixdock.errors import CacheError, MissingPathsError, NixdockError, RegistryError

ERRORS: list[NixdockError] = [
    NixdockError("text", path="/x", key="k", digest="sha256:0", place="p"),
    RegistryError("text", place="host", status=500, codes=["DENIED"], is_broken=True),
    CacheError("text", place="url", path="/nix/store/x", status=404),
    MissingPathsError("text", paths=["/nix/store/x", "/nix/store/y"]),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_pass_from_worker_processes_with_their_fields(error: NixdockError) -> None:
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is type(error)
    assert str(found) == "text"
    assert found.__dict__ == error.__dict__


def test_all_errors_are_in_the_tree_of_the_documentation() -> None:
    assert [name for name in errors.__all__ if name not in str(errors.__doc__)] == []
