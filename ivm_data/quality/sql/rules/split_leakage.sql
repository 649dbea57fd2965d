-- Images that train although they, or near copies, are held out or in an evaluation set.
-- scope: sample
-- reason: {value:.0f} of 64 bits differ from an evaluation image's hash
-- $recipe = "": only recipes whose hash starts with this
-- $bits = 2: most bits of the 64-bit perceptual hash that may differ
-- {left} = training
-- {right} = scoring
-- {only} =
WITH {pictures},
training AS (SELECT DISTINCT hash FROM pictures WHERE NOT held_out),
scoring AS (SELECT hash FROM pictures WHERE held_out UNION SELECT image_hash FROM evaluation_images),
{near},
near AS (SELECT hash, min(bit_count(xor(hash, other)))::DOUBLE AS distance FROM close GROUP BY hash)
SELECT recipe, sample_id, distance AS value FROM pictures JOIN near USING (hash) WHERE NOT held_out
