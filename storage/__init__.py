"""Records, Parquet shards and the DuckDB catalog. Never imports torch."""
