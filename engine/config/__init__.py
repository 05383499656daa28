"""The configuration: settings, personas, how a file is read, and what a reload changes."""
