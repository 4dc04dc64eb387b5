"""Faults of disk, clock and process, each planted on purpose: what was acknowledged survives, and each fault fired."""
