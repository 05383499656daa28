"""Writes a first configuration: from an interview, or from the replaced plugin's JSON file."""
