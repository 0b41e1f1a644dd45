"""Converting JSON values to types: each error names the key at fault."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nixdock.system.typed import MisfitError, convert


class Inner(msgspec.Struct):
    a: int
    b: dict[str, int] = {}


class Outer(msgspec.Struct):
    x: int
    y: str
    many: dict[str, Inner] = {}
    lists: list[dict[str, list[int]]] = []


GOOD: dict[str, Any] = {"x": 1, "y": ""}


def test_a_value_that_fits() -> None:
    assert convert(GOOD, Outer) == Outer(1, "")
    assert convert({"x": "1", "y": ""}, Outer, strict=False) == Outer(1, "")


@pytest.mark.parametrize(
    ("value", "key", "message"),
    [
        ([], "", "Expected `object`, got `array`"),
        ({"y": ""}, "", "Object missing required field `x`"),
        ({"z": 1}, "", "Object missing required fields `x`, `y`"),
        (GOOD | {"y": 1}, "y", "Expected `str`, got `int`"),
        (GOOD | {"many": {"k": {"a": 1}, "l": {}, "m": {}}}, "many['l']", "missing"),
        (GOOD | {"many": {f"k{i}": {"a": i // 77} for i in range(77)} | {"l": 1}}, "many['l']", ""),
        (
            GOOD | {"many": {"k": {"a": 1}, "l": {"a": 1, "b": {"m": 1, "n.o": "", "p": ""}}}},
            "many['l'].b['n.o']",
            "Expected `int`, got `str`",
        ),
        (GOOD | {"lists": [{}, {"a": [1], "b": [1, 2, "3"]}]}, "lists[1]['b'][2]", "Expected"),
    ],
)
def test_a_value_that_does_not_fit(value: Any, key: str, message: str) -> None:
    with pytest.raises(MisfitError) as error:
        convert(value, Outer)
    assert error.value.key == key
    assert message in error.value.message
    assert str(error.value) == (f"{key}: " if key else "") + error.value.message


def test_the_key_is_found_without_strictness() -> None:
    many = {"a": {"a": "1"}, "b": {"a": "x"}}
    with pytest.raises(MisfitError, match=r"^many\['b'\].a: "):
        convert({"x": "1", "y": "", "many": many}, Outer, strict=False)
