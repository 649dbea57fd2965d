-- which record of a manifest stands for which outcome; join it with outcomes on (recipe, sample_id)
-- columns: inputs
FROM inputs_files
