"""The patch file and what can be done with it."""
