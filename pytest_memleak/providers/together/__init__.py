"""Provider "together": open weights at Together AI, fine-tuned with LoRA and deployed."""
