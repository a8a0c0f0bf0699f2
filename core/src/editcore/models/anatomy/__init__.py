"""The parts of a model, their places, and their names in its files."""
