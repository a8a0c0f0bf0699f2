"""MALMEN: many facts in one edit, each a residual from a trained net, joined by a ridge solve; RLEdit for sequences."""
