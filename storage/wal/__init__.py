"""The write-ahead log (-wal): when and by which thread it is copied into the database file."""
