"""Files of EasyEdit, read as settings and figures of editcore."""
