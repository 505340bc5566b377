"""EoMT: the network, its checkpoints' key layouts, what weights and config say of it."""
