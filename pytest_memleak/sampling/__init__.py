"""Sampling: the loop that draws through the ledger, remote jobs, retries and the budget."""
