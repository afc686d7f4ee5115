"""Sampling: the loop that samples through the ledger, remote jobs, retries and the budget."""
