"""Records `rosey-llm demo` as the animated picture of the README: `make recording`."""
