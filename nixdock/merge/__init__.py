"""Merging several images into one archive."""
