"""`rosey-llm chat`: a conversation in the terminal."""
