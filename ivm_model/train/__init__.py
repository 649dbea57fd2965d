"""DWSL from labeled shards to a checkpoint: the story, the generator's loop, what happens beside the steps."""
