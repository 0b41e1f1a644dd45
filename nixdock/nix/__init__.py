"""Nix's own data: store paths, hashes, closures, registrations and the database."""
