"""The Layer interface and the kinds of layers."""
