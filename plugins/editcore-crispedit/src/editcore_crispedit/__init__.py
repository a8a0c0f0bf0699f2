"""CrispEdit: fine-tuning in directions along which the loss on ordinary text hardly curves."""
