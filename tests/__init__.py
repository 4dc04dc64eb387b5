"""The tests: a package, so that they share builders and never meet another distribution's `tests`."""
