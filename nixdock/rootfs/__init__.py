"""The image's own files, and the root file system that they go on top of."""
