"""The native packer, an optional library in C: it does what `tar` does, to the same bytes."""
