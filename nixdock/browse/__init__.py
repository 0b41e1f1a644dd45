"""A browser of images in the terminal: layers, store paths, files, and why they are there.

Textual, an optional dependency, is loaded only by `app` and what it shows on the screen. The others
are pure functions: `levels` says what a list shows, `lines` draws rows, and `explanation` says why.
"""
