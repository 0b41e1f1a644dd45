"""Scripts that run as if by root, without being root: owners, modes and devices are remembered."""
