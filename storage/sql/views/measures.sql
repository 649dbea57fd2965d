-- what the pixels of a label say; join it with labels on (recipe, sample_id)
-- columns: measures
FROM measures_files
