"""Changes of a folder: looked at, announced to observers, and then written in one commit."""
