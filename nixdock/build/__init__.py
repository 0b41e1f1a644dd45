"""Building: resolving a spec, preparing its layers, and reading the previous plan."""
