-- Areas unusual for their source: robust z of the log area share, (x - median) / (1.4826 MAD).
-- scope: mask
-- reason: robust z of the log area is {value:.1f}, limit {z}
-- $recipe = "": only recipes whose hash starts with this
-- $z = 3.5: least |z| that is found
WITH areas AS (
    SELECT recipe, sample_id, source, ln(area / (width::DOUBLE * height)) AS x
    FROM labels WHERE starts_with(recipe, $recipe) AND area > 0
),
spread AS (SELECT recipe, source, median(x) AS middle, 1.4826 * mad(x) AS sigma FROM areas GROUP BY ALL)
SELECT recipe, sample_id, (x - middle) / sigma AS value
FROM areas JOIN spread USING (recipe, source)
WHERE sigma > 0 AND abs(x - middle) >= $z * sigma
