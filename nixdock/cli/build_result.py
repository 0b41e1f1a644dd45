"""What is said of an image that has been built: to people, and to scripts."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from nixdock import Format
from nixdock.cli.output import is_standard_output, size_text
from nixdock.system.text import counted

if TYPE_CHECKING:
    from nixdock import Image

__all__ = ["BuildResult"]

_TRANSPORTS: Final = {
    Format.ARCHIVE: "oci-archive",
    Format.DOCKER_ARCHIVE: "docker-archive",
    Format.OCI_ARCHIVE: "oci-archive",
    Format.OCI_LAYOUT: "oci",
}


class BuildResult(Struct, frozen=True):
    """An image and its place; `target` is None if the image was not written."""

    image: Image
    form: Format
    target: Path | None

    @property
    def digest(self) -> str:
        """The digest of the manifest, or of the index if there is one with what is attested.

        Of a docker-archive, which has neither, it is that of the config.
        """
        docker_only = self.form is Format.DOCKER_ARCHIVE
        return (self.image.config if docker_only else self.image.root).digest

    @property
    def size(self) -> int:
        """The bytes of the layers, each once, the config and the manifest."""
        layers = {layer.digest: layer.size for layer in self.image.layers}
        documents = len(self.image.config.data) + len(self.image.manifest.data)
        return sum(layers.values()) + documents

    @property
    def platform(self) -> str:
        """The platform, such as linux/arm/v7."""
        platform = self.image.platform
        return "/".join(filter(None, [platform.os, platform.architecture, platform.variant]))

    @property
    def _names(self) -> list[str]:
        return [str(reference) for reference in self.image.references]

    def summary(self, seconds: float) -> str:
        """Return the name, layers and size of the image, the time it took, and what to do next."""
        layers = counted(len(self.image.layers), "layer")
        facts = f"{self.platform}, {layers}, {size_text(self.size)}, in {seconds:.1f} s"
        line = f"{', '.join(self._names)}: {facts}"
        if self.target is None or is_standard_output(self.target):
            return line
        return f"{line}\nnext: {self.load_command('docker')}"

    def load_command(self, engine: str) -> str:
        """Return the command that loads the image into `engine`, docker or podman."""
        storage = {"docker": "docker-daemon", "podman": "containers-storage"}[engine]
        # Docker loads no OCI image, and Podman neither a directory nor several names.
        if self.form is Format.OCI_LAYOUT or (
            self.form is Format.OCI_ARCHIVE and (engine == "docker" or self._has_several_names)
        ):
            return f"skopeo copy {self.skopeo_name} {storage}:{self.image.reference}"
        return f"{engine} load < {self._file}"

    @property
    def skopeo_name(self) -> str:
        """The image as skopeo names it; of several entries in a layout, one must be chosen."""
        is_one_of_many = self._has_several_names or self.image.attachments
        chosen = is_one_of_many and self.form is not Format.DOCKER_ARCHIVE
        tag = f":{self.image.reference.tag}" if chosen else ""
        return f"{_TRANSPORTS[self.form]}:{self._file}{tag}"

    @property
    def _has_several_names(self) -> bool:
        return len(self.image.references) > 1

    @property
    def _file(self) -> str:
        return shlex.quote(str(self.target))

    def document(self) -> dict[str, Any]:
        """Return the JSON object that --json prints."""
        image = self.image
        has_manifest = self.form is not Format.DOCKER_ARCHIVE
        return {
            "output": None if self.target is None else str(self.target),
            "format": self.form.value,
            "tags": self._names,
            "digest": image.root.digest if has_manifest else None,
            "config_digest": image.config.digest,
            "os": image.platform.os,
            "architecture": image.platform.architecture,
            "variant": image.platform.variant,
            "size": self.size,
            "layers": [
                {
                    "digest": layer.digest,
                    "diff_id": layer.diff_id,
                    "size": layer.size,
                    "media_type": layer.media_type,
                    "created_by": layer.history.created_by,
                    "comment": layer.history.comment,
                }
                for layer in image.layers
            ],
            "attachments": [each.document() for each in image.attachments],
        }
