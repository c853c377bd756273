"""Turns in web applications, on real servers."""
