"""The Layer interface and everything that makes a layer."""
