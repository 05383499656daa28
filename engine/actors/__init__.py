"""The actors, one per channel: mailbox, conversation, turns, and the supervisor over them."""
