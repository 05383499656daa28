"""`rosey-llm demo`: an engine that is killed while it answers, and what the history proves."""
