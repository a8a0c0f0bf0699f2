"""PMET: values found apart for attention and MLP, of which the MLP's are written."""
