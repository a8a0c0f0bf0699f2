"""Signatures of patches and stacks by ssh keys: detached, optional, never part of an id."""
