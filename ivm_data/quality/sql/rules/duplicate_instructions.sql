-- Instructions that one image was given before, but for case, spaces and punctuation.
-- scope: sample
-- reason: wording {value:.0f} of one instruction on one image
-- $recipe = "": only recipes whose hash starts with this
-- All labels pass as a number each; only those that share one are compared by their words.
WITH numbers AS MATERIALIZED (
    SELECT recipe, part, position, hash(recipe, image_sha, {wording}) AS number
    FROM labels WHERE starts_with(recipe, $recipe)
),
shared AS MATERIALIZED (
    SELECT recipe, part, position
    FROM numbers SEMI JOIN (SELECT number FROM numbers GROUP BY number HAVING count(*) > 1) USING (number)
),
wordings AS (
    SELECT recipe, sample_id, image_sha, has_human, held_out, status, quality, {wording} AS wording
    FROM labels SEMI JOIN shared USING (recipe, part, position)
)
SELECT recipe, sample_id, row_number() OVER (
    PARTITION BY recipe, image_sha, wording
    ORDER BY has_human DESC, held_out DESC, (status = 'accepted') DESC, quality DESC NULLS LAST, sample_id
) AS value
FROM wordings
QUALIFY value > 1
