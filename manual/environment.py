"""The environment variables, files and exit statuses that all commands have in common."""

from __future__ import annotations

from typing import Final

__all__ = ["EXIT_STATUSES", "FILES", "VARIABLES"]

EXIT_STATUSES: Final = {
    "0": "The job is done.",
    "1": "The job failed, or a check found something.",
    "2": "The usage or the input is wrong.",
    "130": "Control-C interrupted the command.",
    "129, 131, 143": "The signal SIGHUP, SIGQUIT or SIGTERM ended the command.",
}

VARIABLES: Final = {
    "SOURCE_DATE_EPOCH": "Time, in seconds since 1970, of the image and of files that the build"
    " itself creates, unless the spec states one.",
    "NIX_BUILD_CORES": "Number of cores to use; it has no influence on the output.",
    "NIX_CONFIG": "Settings of Nix: the keys of binary caches that are trusted, for example.",
    "NIXDOCK_LIBDEFLATE": "File of the library libdeflate, which compresses layers with gzip.",
    "NIXDOCK_PACKER": "python or native: what packs store paths, with the same result.",
    "NIXDOCK_STATIC_PROGRAMS": "0 leaves statically linked programs in scripts alone.",
    "NO_COLOR": "Any value that is not empty: no colours.",
    "REGISTRY_AUTH_FILE": "File with the credentials for registries.",
    "DOCKER_CONFIG": "Directory of Docker's configuration, with credentials for registries.",
    "DOCKER_HOST": "The Docker daemon into which images are loaded.",
    "CONTAINERD_ADDRESS": "Socket of containerd; CONTAINERD_NAMESPACE and CONTAINERD_SNAPSHOTTER"
    " count, too.",
    "KIND_CLUSTER_NAME": "The cluster of kind into which images are loaded.",
    "COSIGN_PASSWORD": "Password of the private key that signs images.",
    "SSL_CERT_FILE": "Authorities to trust, as a file; SSL_CERT_DIR is a directory of them, and"
    " NIX_SSL_CERT_FILE counts if neither is set.",
    "HTTPS_PROXY": "Proxy for HTTPS; HTTP_PROXY and ALL_PROXY are for other URLs, and NO_PROXY"
    " lists what is reached without one.",
    "XDG_CACHE_HOME": "Directory below which nixdock keeps what it knows of layers.",
    "TMPDIR": "Directory for temporary files.",
    "PATH": "Where nixdock finds other programs, such as docker, podman and skopeo.",
}

FILES: Final = {
    "~/.cache/nixdock": "What is known of layers, answers of binary caches, and parts of images,"
    " with which a later pull goes on.",
    "~/.config/containers/auth.json": "Credentials for registries; those of Podman, Skopeo and"
    " Docker are found, too.",
    "~/.config/containers/certs.d": "Certificates for registries.",
}
