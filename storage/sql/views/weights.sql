-- a discriminator's score of a label; join it with labels on (recipe, sample_id)
-- columns: weights
FROM weights_files
