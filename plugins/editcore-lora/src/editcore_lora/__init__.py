"""LoRA and AdaLoRA: a fresh low-rank adapter for each edit."""
