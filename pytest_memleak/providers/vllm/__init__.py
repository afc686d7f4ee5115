"""The provider "vllm"."""
