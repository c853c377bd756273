"""Turns and their calls: what is known of them while they run."""
