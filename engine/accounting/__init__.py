"""Accounting: what calls to models use and cost, counted by user, channel, persona and model."""
