"""
Recording turns: snapshots at call entry, the record at the turn's close, one appended line.

Imported when the first turn is recorded, because it needs pydantic.
"""
