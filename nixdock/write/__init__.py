"""Writing images to files and streams."""
