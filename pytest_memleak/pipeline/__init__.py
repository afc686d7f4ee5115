"""The course of a run: its suites, what each pair needs, and the steps to its verdict."""
