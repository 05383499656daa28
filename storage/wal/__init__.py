"""The WAL (-wal file): when and by which thread it is copied into the database file."""
