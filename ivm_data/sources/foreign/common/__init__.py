"""What several readers stand on: the record, the image's reference, streamed JSON, shapes, the manifest."""
