"""Texts: every sentence that the engine says in a room, in one table, and its replacements."""
