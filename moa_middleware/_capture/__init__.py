"""The live wing: what runs inside the user's call, from the decorator to the line in the file."""
