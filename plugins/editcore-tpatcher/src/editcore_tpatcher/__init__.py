"""T-Patcher: neurons appended to an MLP, one for each token that the model gets wrong."""
