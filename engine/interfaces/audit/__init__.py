"""The audit page: Datasette over the database, with own pages that show it as conversations."""
