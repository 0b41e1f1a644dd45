"""An image's top layer and base image, and the export of its root file system."""
