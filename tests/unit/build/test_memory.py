"""What a build says when an image has too many store paths to remember its layers."""

from __future__ import annotations

import logging

import pytest

from nixdock.build.memory import memory_of
from nixdock.spec.image_spec import ImageSpec
from nixdock.spec.layering_spec import HistorySpec
from tests.unit.closures import store_path


def spec_of(paths: int, letters: int) -> ImageSpec:
    # Names that can't be compressed well.
    layers = [[str(store_path(f"{i * 7919**9 % 36**letters:x}" * 3))] for i in range(paths)]
    return ImageSpec(version=1, name="x", store_layers=layers, history=HistorySpec(0, 0, {}))


@pytest.mark.parametrize(("paths", "is_dropped"), [(900, False), (9000, True)])
def test_it_warns_only_if_layers_are_dropped(
    paths: int, is_dropped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    memory = memory_of(spec_of(paths, 20))
    assert memory is not None
    with caplog.at_level(logging.WARNING):
        document = memory("sha256:" + "0" * 64)
    assert document is not None
    assert ("packed" in document) != is_dropped
    warnings = [record.getMessage() for record in caplog.records]
    assert [w.startswith("the image has too many store paths") for w in warnings] == (
        [True] if is_dropped else []
    )
