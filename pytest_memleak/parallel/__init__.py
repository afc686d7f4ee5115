"""Scoring spread over the cores of a machine, or over a cluster: same numbers, sooner."""
