-- Labels of unusual area for their source: robust z of the log area ratio, (x - median) / (1.4826 MAD), farthest first.
-- $recipe = "": only recipes whose hash starts with this
-- $z = 3.5: least |z| that is listed
-- $limit = 50: rows
WITH areas AS (
    SELECT sample_id, source, status, human_iou, instruction, image_uri, ln(area / (width::DOUBLE * height)) AS log_area
    FROM labels
    WHERE starts_with(recipe, $recipe) AND area > 0
),
spread AS (
    SELECT source, median(log_area) AS middle, 1.4826 * mad(log_area) AS sigma
    FROM areas
    GROUP BY source
)
SELECT sample_id, source, (log_area - middle) / sigma AS z, exp(log_area) AS area_ratio, status, human_iou, instruction, image_uri
FROM areas JOIN spread USING (source)
WHERE sigma > 0 AND abs(log_area - middle) >= $z * sigma
ORDER BY abs(z) DESC, sample_id
LIMIT $limit
