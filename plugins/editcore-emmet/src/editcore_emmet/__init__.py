"""EMMET: many facts at once as equality constraints."""
