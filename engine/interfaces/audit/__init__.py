"""The audit page: the database in Datasette, with pages of our own that read like a chat."""
