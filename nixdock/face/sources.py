"""What a job can start from: a closure, a spec, or an image that exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nixdock.errors import InputError

if TYPE_CHECKING:
    from nixdock.nix.closure import Closure
    from nixdock.oci.location import Location
    from nixdock.spec.image_spec import ImageSpec

__all__ = ["read_source"]


def read_source(location: Location) -> Closure | ImageSpec | Location:
    """Return the closure or spec in a file, or the location itself if an image may be there.

    `-` is standard input. Raise InputError or one of its subclasses if the file can't be read, or
    is text that is neither of the two.
    """
    import orjson

    from nixdock.diff.reading import is_image
    from nixdock.nix.reference_graph import parse_closure
    from nixdock.oci.location import FileLocation
    from nixdock.spec.reading import is_spec, spec_of
    from nixdock.system.input_files import read_bytes
    from nixdock.system.magic import kind_of_data
    from nixdock.system.presence import is_file
    from nixdock.system.strict_json import parse_strictly

    if not isinstance(location, FileLocation) or is_image(location):
        return location
    data = read_bytes(location.path, "the spec or graph")
    if (kind := kind_of_data(data)) and not is_file(location.path):
        raise InputError(
            f"{location.path} is {kind}, not a spec or a reference graph; if it is an image, give"
            " it as a file, not as a pipe",
            path=str(location.path),
        )
    if data.lstrip().startswith(b"{"):
        try:
            # Graphs may be large, so the second look is for specs alone.
            document = orjson.loads(data)
            if is_spec(document):
                document = parse_strictly(data)
        except ValueError as error:
            raise InputError(
                f"{location.path} is not valid JSON: {error}", path=location.path
            ) from None
        if is_spec(document):
            return spec_of(document, location.path)
    return parse_closure(data, (), str(location.path))
