"""Fake registries, a way to reach them without waiting, and a home for each test."""

from ..transfer.conftest import access, cache, fake, other

__all__ = ["access", "cache", "fake", "other"]
