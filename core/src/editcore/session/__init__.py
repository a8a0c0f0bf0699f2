"""The open model: its parts, the patches that are on it, and whom to talk to about it."""
