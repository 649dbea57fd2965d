-- A few labels with all that is needed to draw them.
-- An image lies with the first of its labels in a row group, which is nearly always one of the same part; only where
-- it is not are the names of all images gone through.
WITH picked AS (
    SELECT unnest($parts::VARCHAR[]) AS part, unnest($positions::INTEGER[]) AS position
),
shown AS MATERIALIZED (
    FROM labels SEMI JOIN picked USING (part, position) WHERE recipe = $recipe
),
pixels AS MATERIALIZED (
    SELECT part, position, mask, human_mask, proposal_masks
    FROM masks SEMI JOIN picked USING (part, position)
    WHERE recipe = $recipe
),
near AS MATERIALIZED (
    SELECT image_sha, any_value(image) AS image
    FROM masks SEMI JOIN shown USING (recipe, part, image_sha)
    WHERE image IS NOT NULL
    GROUP BY image_sha
),
far AS (
    SELECT image_sha, any_value(image) AS image
    FROM masks SEMI JOIN (FROM shown ANTI JOIN near USING (image_sha)) USING (image_sha)
    WHERE image IS NOT NULL
    GROUP BY image_sha
)
SELECT shown.*, mask, human_mask, proposal_masks, image
FROM shown JOIN pixels USING (part, position) JOIN (FROM near UNION ALL FROM far) USING (image_sha)
