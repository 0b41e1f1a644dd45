"""Writing images: as an OCI layout, as an archive of one, and as a docker-archive."""

from nixdock.output.write import Buildable, Format, stream_image, write_image

__all__ = ["Buildable", "Format", "stream_image", "write_image"]
