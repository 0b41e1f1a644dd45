"""The vocabulary of images: documents, digests, references and names, without any I/O."""
