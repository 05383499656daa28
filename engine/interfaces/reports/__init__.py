"""Reports of the `rosey-llm history` commands: print and export what `storage/queries/` reads."""
