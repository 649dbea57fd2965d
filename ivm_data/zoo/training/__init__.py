"""How each embedded expert is trained from nothing on the procedural world."""
