"""Knowledge Neurons: the MLP units that express a fact, found by integrated gradients and rewritten."""
