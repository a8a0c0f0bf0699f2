"""Results of a run: figures, tables, and one page."""
