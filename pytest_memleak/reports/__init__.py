"""Reports: terminal, JUnit, and what they may quote."""
