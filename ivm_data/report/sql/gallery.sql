-- The first labels that meet a condition, one for each image, with what is needed to draw them.
WITH picked AS (
    FROM labels WHERE recipe = $recipe AND {where}
    QUALIFY row_number() OVER (PARTITION BY image_sha ORDER BY {order}, sample_id) = 1
    ORDER BY {order}, sample_id LIMIT $limit
),
files AS (
    SELECT image_sha, any_value(image) AS image FROM masks
    WHERE image IS NOT NULL AND image_sha IN (SELECT image_sha FROM picked) GROUP BY image_sha
)
SELECT picked.*, masks.mask, masks.human_mask, masks.proposal_masks, files.image
FROM picked JOIN masks USING (recipe, part, position) JOIN files ON files.image_sha = picked.image_sha
ORDER BY {order}, sample_id
