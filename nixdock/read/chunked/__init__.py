"""Checking layers that can be fetched in part: whether what they say of their tar is true."""
