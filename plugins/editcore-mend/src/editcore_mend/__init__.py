"""MEND: small nets that turn the gradient of one fact into an edit; their parts serve other trained editors too."""
