"""Data sets of expressions, questions and captions about regions."""
