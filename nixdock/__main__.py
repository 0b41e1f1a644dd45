"""`python -m nixdock`."""

from nixdock.cli import run

run()
