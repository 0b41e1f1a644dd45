"""Images in registries, and the credentials for them."""
