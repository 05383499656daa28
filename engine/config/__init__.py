"""The configuration: settings, personas, reading the file, comparing it on a reload."""
