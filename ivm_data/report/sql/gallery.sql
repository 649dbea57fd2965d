-- The first labels that meet a condition, one for each image; keys alone, as every label passes through the window.
SELECT part, position
FROM labels
WHERE recipe = $recipe AND {where}
QUALIFY row_number() OVER (PARTITION BY image_sha ORDER BY {order}, sample_id) = 1
ORDER BY {order}, sample_id
LIMIT $limit
