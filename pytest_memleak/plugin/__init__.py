"""The pytest plugin: options, collection, fixtures, progress, and outcomes."""
