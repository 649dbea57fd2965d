"""The stages in a row over the parts of a manifest: in this process, or as Ray actors."""
