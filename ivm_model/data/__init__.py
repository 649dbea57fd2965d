"""What a training reads: which labels train, where they lie, in which order they come, what encoders see of them."""
