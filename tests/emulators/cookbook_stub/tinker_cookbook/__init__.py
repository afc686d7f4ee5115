"""Stands in for tinker-cookbook, which holds transformers at an older release."""
