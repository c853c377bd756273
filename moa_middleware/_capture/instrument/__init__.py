"""Wrappers put in place of functions, methods and SDK resources, and taken away again."""
