"""What Nix knows: store paths, closures, registrations and the database; nothing about images."""
