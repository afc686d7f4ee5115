"""The HTML report: one file that stands on its own."""
