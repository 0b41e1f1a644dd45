"""The vocabulary of images: documents, digests, media types and references, without any I/O."""
