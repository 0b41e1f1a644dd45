"""Problems as errors: what a caller may want to act on is in the error's fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from nixdock.errors import ImageError
from nixdock.read.opening import open_image
from nixdock.read.problem import Problem, pass_on, refuse

DIGEST = f"sha256:{'0' * 64}"


def test_a_refused_problem_is_an_error_with_its_fields() -> None:
    with pytest.raises(ImageError, match=r"^index\.json: the size is -1$") as caught:
        refuse(Problem("index.json", "the size is -1", DIGEST, "size"))
    error = caught.value
    assert (error.place, error.digest, error.key) == ("index.json", DIGEST, "size")


def test_an_error_names_the_image(tmp_path: Path) -> None:
    """Whoever compares two images would not know which of them is damaged."""
    layout = tmp_path / "layout"
    layout.mkdir()
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    with pytest.raises(ImageError) as caught, open_image(layout):
        pass
    assert str(caught.value) == f"{layout}: index.json: index.json is missing"
    assert (caught.value.path, caught.value.place) == (str(layout), "index.json")
    problems: list[Problem] = []
    with open_image(layout, problems.append):
        pass
    assert [*map(str, problems)] == ["index.json: index.json is missing"]


def test_an_error_names_a_damaged_archive_once(tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(bytes(257) + b"ustar" + bytes(1000))
    with pytest.raises(ImageError) as caught, open_image(archive):
        pass
    assert str(caught.value).count(str(archive)) == 1
    assert caught.value.path == str(archive)


def test_an_error_names_an_image_whose_path_is_a_part_of_the_message() -> None:
    with pytest.raises(ImageError, match=r"^doc: index\.json: the document is malformed$"):
        refuse(Problem("index.json", "the document is malformed"), "doc")


def test_an_error_becomes_a_problem_at_a_place() -> None:
    problems: list[Problem] = []
    error = ImageError("the document is malformed", digest=DIGEST, key="layers[0]")
    pass_on(error, "manifest.json", problems.append)
    (problem,) = problems
    assert str(problem) == "manifest.json: the document is malformed"
    assert (problem.digest, problem.key) == (DIGEST, "layers[0]")


def test_a_refused_problem_keeps_its_place() -> None:
    with pytest.raises(ImageError) as inner:
        refuse(Problem("layer 1", "the layer is damaged"))
    with pytest.raises(ImageError) as outer:
        pass_on(inner.value, "manifest.json", refuse)
    assert outer.value is inner.value


def test_equal_problems_are_equal_whatever_else_is_known_of_them() -> None:
    assert Problem("a", "b", DIGEST, "c") == Problem("a", "b")
    assert len({Problem("a", "b", DIGEST), Problem("a", "b")}) == 1
