"""A trace directory on disk: names of its files, the lock on one, and the process that owns one."""
