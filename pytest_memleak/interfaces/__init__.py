"""Interfaces between packages and extensions: protocols, hooks, and abilities."""
