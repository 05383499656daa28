"""Writing: the one connection, its thread, group commit, and batches of like writes."""
