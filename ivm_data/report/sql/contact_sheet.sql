-- A few labels of every status, one for each image, chosen at random but always the same.
WITH firsts AS (
    SELECT part, position, status, sample_id, md5(instruction) AS place
    FROM labels
    WHERE recipe = $recipe
    QUALIFY row_number() OVER (PARTITION BY status, image_sha ORDER BY md5(instruction), sample_id) = 1
)
SELECT part, position
FROM firsts
QUALIFY row_number() OVER (PARTITION BY status ORDER BY place, sample_id) <= $each
ORDER BY list_position($statuses, status), place, sample_id
