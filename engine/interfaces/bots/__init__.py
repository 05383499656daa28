"""Bots of ours for chat platforms, each on top of the client library."""
