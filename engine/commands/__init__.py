"""What a message asks: commands, and how words become them."""
