"""The formats of images, each with the compressions that it can have."""

from __future__ import annotations

from nixdock.layers.compression import COMPRESSIONS
from nixdock.oci.layout import Format

STREAMS = [compression for compression in COMPRESSIONS if not compression.chunked]

FORMS = [
    (form, compression)
    for form in Format
    for compression in (STREAMS if form is Format.DOCKER_ARCHIVE else COMPRESSIONS)
]
