"""The metrics of an observation: one file per concern, each with a function `families`."""
