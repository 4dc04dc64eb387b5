"""Vectors made by a program: the cells of the table of what a read returns."""
