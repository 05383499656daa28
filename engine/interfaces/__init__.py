"""What people look at: terminal, top, audit page, reports, personas."""
