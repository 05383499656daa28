"""What operators ask of the history. All of it only reads, by a connection of its own."""
