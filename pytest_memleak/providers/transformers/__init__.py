"""Provider "transformers": open weights on this machine."""
