"""The image spec: its types, checks and files."""
