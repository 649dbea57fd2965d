"""The masking model: frozen SAM encoder and LMM, trained decoder and LoRA; how it is kept on disk."""
