"""The conversation engine: one actor per channel."""
