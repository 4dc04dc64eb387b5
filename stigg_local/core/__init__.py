"""The rules: records in, records out. No clock, no randomness, no input or output, no threads, no log."""
