"""Guards against edits that cost more than they should: transforms, and a budget for sequences."""
