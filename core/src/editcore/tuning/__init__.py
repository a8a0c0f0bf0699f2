"""Which settings of a method suit a model: measured on facts of the model itself, kept as a named profile."""
