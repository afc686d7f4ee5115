"""Provider `ngram`: a small language model trained on the spot."""
