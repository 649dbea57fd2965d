-- outcomes that count in no other view: another one of their pair has taken their place
-- columns: light
FROM superseded_files
