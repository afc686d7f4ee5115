"""Providers: one file for each place where models are fine-tuned and sampled."""
