"""Scoring spread over the cores of a machine: same numbers, sooner."""
