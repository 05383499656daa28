"""The sections of the store: commits, memory, searching and starting, with large databases."""
