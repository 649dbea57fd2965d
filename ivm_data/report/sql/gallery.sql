-- The first labels that meet a condition, one for each image, among the first $among of them; how many those are.
WITH firsts AS MATERIALIZED (
    SELECT part, position, row_number() OVER (PARTITION BY image_sha ORDER BY {order}, sample_id) = 1 AS first_of_image,
        row_number() OVER (ORDER BY {order}, sample_id) AS place
    FROM (FROM labels WHERE recipe = $recipe AND {where} ORDER BY {order}, sample_id LIMIT $among)
)
SELECT part, position, (SELECT count(*) FROM firsts) AS looked_at
FROM firsts
WHERE first_of_image
ORDER BY place
LIMIT $limit
