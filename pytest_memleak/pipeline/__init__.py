"""The story of a run: its suites, what each pair needs, and its way to a verdict."""
