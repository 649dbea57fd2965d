-- Labels by the discriminator's output D, by source (the paper's Figure 10b).
-- $recipe = "": only recipes whose hash starts with this
-- $bins = 20: number of equal bins of D from 0 to 1
WITH binned AS (
    SELECT
        discriminator,
        source,
        least(floor(d * $bins), $bins - 1)::INTEGER AS bin,
        count(*) AS labels,
        avg(human_iou) AS human_iou
    FROM weights JOIN labels USING (recipe, sample_id)
    WHERE starts_with(recipe, $recipe)
    GROUP BY ALL
)
SELECT
    discriminator,
    source,
    bin / $bins AS d_from,
    (bin + 1) / $bins AS d_to,
    coalesce(labels, 0) AS labels,
    coalesce(labels, 0) / sum(labels) OVER (PARTITION BY discriminator, source) AS share,
    human_iou
FROM (SELECT DISTINCT discriminator, source FROM binned)
CROSS JOIN (SELECT unnest(range($bins))::INTEGER AS bin)
LEFT JOIN binned USING (discriminator, source, bin)
ORDER BY discriminator, source, bin
