"""Find the settings of a method that suit a model: measured on its own facts, kept as a named profile."""
