"""Durable state in SQLite: history, snapshots, mailboxes, outcomes."""
