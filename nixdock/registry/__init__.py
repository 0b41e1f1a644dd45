"""Fetching images from registries."""
