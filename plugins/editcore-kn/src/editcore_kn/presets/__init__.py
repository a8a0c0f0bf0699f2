"""Settings known to work, one file a model: `match` says for which, `hparams` what, a comment from where."""
