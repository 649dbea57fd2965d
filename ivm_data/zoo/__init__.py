"""The embedded experts: how each is trained from nothing, and their committed weights."""
