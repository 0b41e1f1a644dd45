"""The previous plans of each image of a family, which need no names."""

from __future__ import annotations

from nixdock.layering.plan_history import PreviousPlan
from nixdock.layering.relatives import previous_by_image
from nixdock.nix.closure import Closure
from tests.unit.closures import closure_of

LIBRARIES = [f"lib{i:02}" for i in range(20)]


def image(*names: str, salt: str = "") -> Closure:
    return closure_of(dict.fromkeys((*LIBRARIES, *names), (1, ())), salt)


def plan(*names: str, salt: str = "") -> PreviousPlan:
    return PreviousPlan((tuple(image(*names, salt=salt).infos),))


def test_without_plans_there_are_none() -> None:
    assert previous_by_image([image("web"), image("worker")], []) == [[], []]
    assert previous_by_image([], [plan("web")]) == []


def test_neither_the_order_nor_hashes_matter() -> None:
    web, worker = plan("web"), plan("worker")
    closures = [image("web", salt="new"), image("worker", salt="new")]
    for plans in ([web, worker], [worker, web]):
        assert previous_by_image(closures, plans) == [[web], [worker]]


def test_an_image_that_has_come_follows_the_most_similar() -> None:
    tools = [f"tool{i}" for i in range(9)]
    web, worker = plan("web"), plan("worker", *tools)
    closures = [image("batch", *tools), image("web"), image("worker", *tools)]
    assert previous_by_image(closures, [web, worker]) == [[worker], [web], [worker]]


def test_of_several_versions_the_first_of_the_most_similar_is_the_newest() -> None:
    oldest, old, new = (plan("web", salt=salt) for salt in ("a", "b", "c"))
    grown = plan("web", "more", salt="d")
    assert previous_by_image([image("web")], [new, old, oldest]) == [[new, old, oldest]]
    assert previous_by_image([image("web")], [grown, new, old]) == [[new, grown, old]]


def test_the_plan_of_an_image_that_has_gone_is_no_older_version() -> None:
    gone = plan("gone", *[f"other{i}" for i in range(9)])
    web = plan("web")
    assert previous_by_image([image("web")], [gone, web]) == [[web]]


def test_common_store_paths_tell_images_of_the_same_packages_apart() -> None:
    amd64, arm64 = plan("web", salt="amd64"), plan("web", salt="arm64")
    closures = [image("web", salt="amd64"), image("web", salt="arm64")]
    for plans in ([amd64, arm64], [arm64, amd64]):
        assert previous_by_image(closures, plans) == [[amd64], [arm64]]


def test_an_older_version_belongs_to_the_image_that_has_its_store_paths() -> None:
    older = plan("tool", salt="arm64")
    amd64, arm64 = plan("web", salt="amd64"), plan("web", salt="arm64")
    closures = [image("web", salt="amd64"), image("web", salt="arm64")]
    assert previous_by_image(closures, [amd64, arm64, older]) == [[amd64], [arm64, older]]
