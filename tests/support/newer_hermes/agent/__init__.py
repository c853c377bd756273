"""A double of the newer Hermes Agent: its modules' names and shapes, written for these tests."""
