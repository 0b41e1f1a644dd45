"""Joining images for several platforms in one index."""
