"""Providers: one package for each place where models are fine-tuned and sampled."""
