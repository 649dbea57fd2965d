"""The masking model: DWSL training, evaluation, and deployment."""
