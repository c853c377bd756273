"""Further programs, written after the rules were."""
