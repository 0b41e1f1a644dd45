"""Compression formats: telling them apart, and decompressing with limits."""
