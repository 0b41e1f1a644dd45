"""Where store paths are read from: stores in the file system, and binary caches."""
