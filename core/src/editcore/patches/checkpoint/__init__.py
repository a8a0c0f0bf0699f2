"""A model folder on disk: its tensors, its stack of patches, and whether it is the right base."""
