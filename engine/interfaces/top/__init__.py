"""`rosey-llm top`: a live view of a running service in the terminal."""
