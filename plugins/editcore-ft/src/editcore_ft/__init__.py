"""FT, FT-L and FT-M: fine-tuning of a few matrices until the model answers with the new targets."""
