"""FT, FT-L and FT-M: fine-tuning of a few matrices until the model says the new targets."""
