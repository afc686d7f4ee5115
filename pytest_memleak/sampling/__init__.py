"""Sampling through the ledger: the run loop, remote jobs, retries, and costs."""
