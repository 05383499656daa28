"""Answering one command with a model: the prompt, the growing answer, and the turn's result."""
