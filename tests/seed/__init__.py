"""The documented snippets, translated line by line."""
