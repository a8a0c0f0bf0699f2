"""ICE, consistent in-context editing: a model learns to answer as it does with the fact before its eyes."""
