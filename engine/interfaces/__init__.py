"""The user interfaces behind the commands: chat, top, the audit page, history reports, personas."""
