"""The rules that look at images and instructions, whoever made the mask.

Two images are near where the hashes differ in at most `bits` of 64 bits. Of bits + 1 disjoint bands of a hash at
least one is then the same, so only images that share a band are compared. More bits make narrower bands, and many more
pairs that share one by chance.
"""

from __future__ import annotations

_BANDED = """
    SELECT hash, band,
        (hash >> (band * (64 // ($bits + 1)))) & (18446744073709551615::UBIGINT >> (64 - 64 // ($bits + 1))) AS part
    FROM {hashes}, range($bits + 1) AS bands(band)"""

_NEAR = """
close AS MATERIALIZED (
    SELECT DISTINCT a.hash, b.hash AS other FROM a JOIN b USING (band, part)
    WHERE bit_count(xor(a.hash, b.hash)) <= $bits
)"""

_PICTURES = """
pictures AS MATERIALIZED (
    SELECT recipe, sample_id, m.image_sha, m.image_hash AS hash, held_out,
        CASE WHEN held_out THEN 'a' WHEN has_human THEN 'b' ELSE 'c' END || m.image_sha AS rank
    FROM measures AS m JOIN labels USING (recipe, sample_id)
    WHERE starts_with(recipe, $recipe) AND m.image_hash IS NOT NULL{only}
)"""

# Only for the few images that look like another is `labels` read.
NEAR_DUPLICATES = f"""-- Images that look like an earlier one: held-out ones come first, then those with a human mask.
-- $recipe = "": only recipes whose hash starts with this
-- $bits = 2: most bits of the 64-bit perceptual hash that may differ
WITH hashes AS MATERIALIZED (
    SELECT image_hash AS hash, min(image_sha) <> max(image_sha) AS several
    FROM measures WHERE starts_with(recipe, $recipe) AND image_hash IS NOT NULL
    GROUP BY image_hash
),
a AS MATERIALIZED ({_BANDED.format(hashes="hashes")}),
b AS (FROM a),
{_NEAR},
alike AS (SELECT hash FROM hashes WHERE several UNION SELECT hash FROM close WHERE hash <> other),
{_PICTURES.format(only=" AND m.image_hash IN (FROM alike)")},
firsts AS MATERIALIZED (SELECT hash, min(rank) AS rank FROM pictures GROUP BY hash),
near AS (
    SELECT close.hash, min(bit_count(xor(close.hash, other)))::DOUBLE AS distance
    FROM close JOIN firsts USING (hash) JOIN firsts AS earlier ON earlier.hash = other
    WHERE earlier.rank < firsts.rank
    GROUP BY close.hash
)
SELECT recipe, sample_id, least(CASE WHEN image_sha <> substr(firsts.rank, 2) THEN 0 END, distance) AS value
FROM pictures JOIN firsts USING (hash) LEFT JOIN near USING (hash)
WHERE value IS NOT NULL AND NOT held_out"""

DUPLICATE_INSTRUCTIONS = """-- Instructions that one image was given before, but for case, spaces and punctuation.
-- $recipe = "": only recipes whose hash starts with this
WITH wordings AS (
    SELECT recipe, sample_id, image_sha, has_human, held_out, status, quality,
        translate(lower(instruction), ' .,;:!?()-"''', '') AS wording
    FROM labels WHERE starts_with(recipe, $recipe)
)
SELECT recipe, sample_id, row_number() OVER (
    PARTITION BY recipe, image_sha, wording
    ORDER BY has_human DESC, held_out DESC, (status = 'accepted') DESC, quality DESC NULLS LAST, sample_id
) AS value
FROM wordings
SEMI JOIN (
    SELECT recipe, image_sha, wording FROM wordings GROUP BY ALL HAVING count(*) > 1
) AS repeated USING (recipe, image_sha, wording)
QUALIFY value > 1"""

SPLIT_LEAKAGE = f"""-- Images that train although they, or near copies, are held out or in an evaluation set.
-- $recipe = "": only recipes whose hash starts with this
-- $bits = 2: most bits of the 64-bit perceptual hash that may differ
WITH {_PICTURES.format(only="")},
training AS (SELECT DISTINCT hash FROM pictures WHERE NOT held_out),
scoring AS (SELECT hash FROM pictures WHERE held_out UNION SELECT image_hash FROM evaluation_images),
a AS ({_BANDED.format(hashes="training")}),
b AS ({_BANDED.format(hashes="scoring")}),
{_NEAR},
near AS (SELECT hash, min(bit_count(xor(hash, other)))::DOUBLE AS distance FROM close GROUP BY hash)
SELECT recipe, sample_id, distance AS value FROM pictures JOIN near USING (hash) WHERE NOT held_out"""
