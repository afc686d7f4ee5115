"""Provider "together": open weights at Together AI, fine-tuned and deployed."""
