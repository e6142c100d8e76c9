"""Faults that take minutes, or more than a test may ask of a machine."""
