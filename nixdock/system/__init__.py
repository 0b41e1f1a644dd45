"""What the operating system gives: whole outputs, buffers, threads and child processes."""
