"""CaliNET: a small FFN of slots beside an MLP, trained on all facts of a call."""
