"""What the history says, for people: read by `storage/audit/`, printed here."""
