"""A look at the engine as metrics: a file for each concern, a function `families` in each."""
