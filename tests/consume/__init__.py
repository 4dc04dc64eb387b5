"""Consuming and reserving: a slow model, races, killed holders, damaged rows."""
