"""Who answers: one actor per channel and what it knows."""
