"""What a run found: figures, tables, and one page."""
