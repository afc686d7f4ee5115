"""Provider "vertex": models on Vertex AI."""
