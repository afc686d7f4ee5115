"""The ledger: every paid call, written down before it is made and as soon as it is answered."""
