"""The pytest plugin: options, collection, fixtures, progress, outcomes."""
