"""A browser of images in the terminal: layers, store paths, files, and why they are there.

Only `app`, `listing` and `panels` need Textual, an optional dependency; the others are pure
functions: `levels` says what a list shows, `directories` adds up files, and `lines` draws rows.
"""
