"""Putting several images into one archive."""
