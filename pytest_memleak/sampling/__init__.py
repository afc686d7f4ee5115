"""Sampling: the ledger, the run loop that draws through it, and the budget."""
