"""The verbs of `moa` that read: real processes, a real terminal, real trace files."""
