"""Images, masks and boxes."""
