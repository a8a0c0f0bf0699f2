"""`editcore bench`. Nothing heavy is imported before a command runs."""
