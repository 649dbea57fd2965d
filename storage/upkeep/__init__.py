"""Of a whole data set: compaction, verification, digests, copies in an object store."""
