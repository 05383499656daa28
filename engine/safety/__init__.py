"""What may be said to the model and by it: patterns, mentions, and the judgement of a provider."""
