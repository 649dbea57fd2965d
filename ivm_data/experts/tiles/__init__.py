"""Any expert on large pictures: asked about parts of them at the scale that its model sees."""
