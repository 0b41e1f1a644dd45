"""What is public, and that errors are what their documentation says."""

from __future__ import annotations

import importlib
import pkgutil
import re

import nixdock
from nixdock import errors


def modules() -> list[str]:
    found = [module.name for module in pkgutil.walk_packages(nixdock.__path__, "nixdock.")]
    return sorted(name for name in found if not name.endswith("__main__"))


def test_all_is_sorted_and_there() -> None:
    assert nixdock.__all__ == sorted(nixdock.__all__)
    assert all(hasattr(nixdock, name) for name in nixdock.__all__)
    assert set(errors.__all__) <= set(nixdock.__all__)


def test_every_module_says_what_it_is_and_what_is_public() -> None:
    for name in modules():
        module = importlib.import_module(name)
        assert module.__doc__, name
        # Only a package may have nothing of its own: its modules are what it gives.
        assert hasattr(module, "__all__") or hasattr(module, "__path__"), name
        for public in getattr(module, "__all__", ()):
            assert hasattr(module, public), f"{name}.{public}"


def test_the_error_tree_is_the_one_in_the_documentation() -> None:
    assert errors.__doc__
    drawn: dict[str, str | None] = {}
    stack: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        found = re.match(r"([\s│├└─]*)([A-Z]\w*Error)\b", line)
        if found:
            depth, name = len(found[1]), found[2]
            while stack and stack[-1][0] >= depth:
                stack.pop()
            drawn[name] = stack[-1][1] if stack else None
            stack.append((depth, name))
    for name in modules():
        importlib.import_module(name)
    actual: dict[str, str | None] = {"NixdockError": None}
    waiting = [errors.NixdockError]
    while waiting:
        parent = waiting.pop()
        below = [child for child in parent.__subclasses__() if not child.__name__.startswith("_")]
        actual |= {child.__name__: parent.__name__ for child in below}
        waiting += below
    assert drawn == actual
    assert set(errors.__all__) == actual.keys()


def test_exit_statuses() -> None:
    assert errors.NixdockError.exit_status == errors.PackError.exit_status == 1
    assert errors.SpecError.exit_status == errors.ClosureError.exit_status == 2
