"""Commands: their records, parsing, validation, outcomes and observers."""
