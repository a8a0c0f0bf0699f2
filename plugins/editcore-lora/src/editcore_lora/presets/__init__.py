"""Settings known to work, one file a model: `match` names the model, each method's name its settings, a comment the
source."""
