"""Operators' queries of the history; they only read, on connections of their own."""
