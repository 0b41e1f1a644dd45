"""Images on their way from one place to another: pulling, pushing and copying."""
