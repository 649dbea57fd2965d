-- Labels by the share of the image that their mask covers, by source (the paper's Figure 5).
-- $recipe = "": only recipes whose hash starts with this
-- $bins = 20: number of equal bins of the area ratio from 0 to 1
WITH binned AS (
    SELECT source, least(floor(area / (width::DOUBLE * height) * $bins), $bins - 1)::INTEGER AS bin, count(*) AS labels
    FROM labels
    WHERE starts_with(recipe, $recipe) AND status <> 'no_target'
    GROUP BY ALL
)
SELECT
    source,
    bin / $bins AS area_from,
    (bin + 1) / $bins AS area_to,
    coalesce(labels, 0) AS labels,
    coalesce(labels, 0) / sum(labels) OVER (PARTITION BY source) AS share
FROM (SELECT DISTINCT source FROM binned)
CROSS JOIN (SELECT unnest(range($bins))::INTEGER AS bin)
LEFT JOIN binned USING (source, bin)
ORDER BY source, bin
