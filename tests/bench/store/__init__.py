"""What the store, memory and starting cost, also where a database has grown large."""
