"""The project's figures, as ratios measured in one run: `python -m tests.bench`."""
