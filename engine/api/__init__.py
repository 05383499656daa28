"""The engine in process: `LLMService`."""
