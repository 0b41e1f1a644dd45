"""Attaching artifacts to images, in registries and in OCI layouts, and reading them."""
