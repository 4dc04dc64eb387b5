"""Proofs of the life cycle: an independent model, vectors that both sides run, and random lives."""
