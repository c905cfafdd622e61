"""Processes that train together on this machine: the standard library alone, any command as a worker."""
