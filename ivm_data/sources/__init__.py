"""Foreign data sets read as samples."""
