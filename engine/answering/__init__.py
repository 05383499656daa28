"""One question to the model: the prompt, the answer as it grows, and the turn's result."""
