"""The client library: what a bot needs between a question and a line in a room."""
