"""Provenance: where an image comes from, as in-toto and SLSA state it."""
