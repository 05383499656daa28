"""`rosey-llm chat`: a conversation with the bot in the terminal."""
