"""Reading images that exist: OCI layouts and archives, and docker-archives."""
