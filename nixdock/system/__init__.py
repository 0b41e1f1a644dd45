"""The operating system: input and output files, buffers, threads and child processes."""
