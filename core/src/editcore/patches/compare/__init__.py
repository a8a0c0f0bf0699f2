"""Differences of patches and folders, and verification of hashes."""
