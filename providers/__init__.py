"""Language model providers behind one interface: `LLMProvider`. They know nothing of the engine."""
