"""`rosey-llm persona`: the personas of a configuration."""
