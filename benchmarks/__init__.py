"""Measurements of the engine; see `README.md`."""
