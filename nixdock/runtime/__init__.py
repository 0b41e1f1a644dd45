"""Images on their way into a container runtime: a registry for a moment, which serves them."""
