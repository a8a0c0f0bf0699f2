"""Settings known to work, one file a model: `match` names the model, `hparams` the settings, a comment the source."""
