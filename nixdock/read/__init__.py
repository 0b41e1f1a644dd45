"""Reading and checking images in files."""
