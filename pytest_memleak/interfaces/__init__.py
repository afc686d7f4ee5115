"""What rooms and extensions promise each other: protocols, hooks, the paper's format."""
