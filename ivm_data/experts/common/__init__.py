"""What experts of every kind share: the protocols, batches that fit the memory, work ahead of the model."""
