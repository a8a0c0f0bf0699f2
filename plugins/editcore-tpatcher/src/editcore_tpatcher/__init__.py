"""T-Patcher: neurons appended to the last MLP, one for each token that the model gets wrong."""
