"""Writing: one connection, one thread, group commit, and batches of writes of one kind."""
