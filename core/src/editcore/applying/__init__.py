"""Patches on folders, announced to observers and then written in one commit."""
