-- Images that look like an earlier one: held-out ones come first, then those with a human mask.
-- scope: sample
-- reason: {value:.0f} of 64 bits differ from an earlier image's hash
-- $recipe = "": only recipes whose hash starts with this
-- $bits = 2: most bits of the 64-bit perceptual hash that may differ
-- {left} = hashes
-- {right} = hashes
-- {only} = AND m.image_hash IN (FROM alike)
-- Only for the few images that look like another is `labels` read.
WITH hashes AS MATERIALIZED (
    SELECT image_hash AS hash, min(image_sha) <> max(image_sha) AS several
    FROM measures WHERE starts_with(recipe, $recipe) AND image_hash IS NOT NULL
    GROUP BY image_hash
),
{near},
alike AS (SELECT hash FROM hashes WHERE several UNION SELECT hash FROM close WHERE hash <> other),
{pictures},
firsts AS MATERIALIZED (SELECT hash, min(rank) AS rank FROM pictures GROUP BY hash),
near AS (
    SELECT close.hash, min(bit_count(xor(close.hash, other)))::DOUBLE AS distance
    FROM close JOIN firsts USING (hash) JOIN firsts AS earlier ON earlier.hash = other
    WHERE earlier.rank < firsts.rank
    GROUP BY close.hash
)
SELECT recipe, sample_id, least(CASE WHEN image_sha <> substr(firsts.rank, 2) THEN 0 END, distance) AS value
FROM pictures JOIN firsts USING (hash) LEFT JOIN near USING (hash)
WHERE value IS NOT NULL AND NOT held_out
