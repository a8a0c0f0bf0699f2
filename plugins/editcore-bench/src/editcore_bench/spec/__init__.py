"""A benchmark to run: models × methods × datasets × protocols × seeds, as a YAML file and as a value. Torch-free."""
