"""One invocation of a wrapped function, as a call or as a turn."""
