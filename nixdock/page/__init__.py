"""A view as a page: one HTML file that needs no network, and no scripts to be read."""
