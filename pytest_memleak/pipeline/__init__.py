"""The course of a run: its suites, what each pair needs, and how it is judged."""
