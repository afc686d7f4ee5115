"""The command `memleak`: one file a command."""
