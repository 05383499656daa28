"""`LLMService`, the engine inside another Python program."""
