"""The image spec: its types, its checks, and how it is read."""
