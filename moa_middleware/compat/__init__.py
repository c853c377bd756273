"""Systems whose traces came before these: what they had, kept working."""

__all__: list[str] = []
