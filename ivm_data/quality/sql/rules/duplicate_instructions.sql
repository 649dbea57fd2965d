-- Instructions that one image was given before, but for case, spaces and punctuation.
-- scope: sample
-- reason: wording {value:.0f} of one instruction on one image
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
QUALIFY value > 1
