"""Tables, archives and folders that hold images and instructions of any kind."""
