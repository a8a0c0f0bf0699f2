"""Patches from other things and other things from patches: hubs, adapters, checkpoints, squashes."""
