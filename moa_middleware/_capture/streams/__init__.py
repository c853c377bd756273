"""Streams on their way to the caller: what they are, their proxies, and how they end."""
