"""The tar format: reading, writing, and walking the files to write."""
