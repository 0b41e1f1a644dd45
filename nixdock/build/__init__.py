"""From a spec to an image: resolving, layers, and what the previous image tells."""
