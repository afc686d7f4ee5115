"""Provider "openai": OpenAI, and any server that speaks its protocol."""
