"""The side that answers: compiled views in memory, the fallback file, what the process shows of its state."""
