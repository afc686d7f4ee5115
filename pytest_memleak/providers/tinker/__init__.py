"""Provider "tinker": LoRA fine-tunes of open weights at Thinking Machines' Tinker."""
