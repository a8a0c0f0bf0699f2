"""AlphaEdit: sequential batches of edits in directions that ordinary keys hardly use."""
