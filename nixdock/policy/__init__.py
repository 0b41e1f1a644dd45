"""Policies: limits and prohibitions that an image must keep to, and what breaks them."""
