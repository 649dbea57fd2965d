-- Can a discriminator tell right masks from wrong ones? AUC of D against human IoU, by source (0.5 = chance, to 4 digits).
-- $recipe = "": only recipes whose hash starts with this
-- $iou = 0.5: a label counts as right from this IoU with the human mask
WITH steps AS (
    SELECT
        discriminator,
        source,
        round(d, 4) AS step,
        count(*) FILTER (human_iou >= $iou) AS hits,
        count(*) FILTER (human_iou < $iou) AS misses
    FROM weights JOIN labels USING (recipe, sample_id)
    WHERE starts_with(recipe, $recipe) AND human_iou IS NOT NULL
    GROUP BY ALL
),
-- A right label outranks every wrong one below it, and half of those it is level with.
ranked AS (
    SELECT *, sum(misses) OVER (PARTITION BY discriminator, source ORDER BY step) - misses / 2 AS outranked
    FROM steps
)
SELECT
    discriminator,
    source,
    sum(hits)::BIGINT AS right_ones,
    sum(misses)::BIGINT AS wrong_ones,
    sum(hits * outranked) / nullif(sum(hits) * sum(misses), 0) AS auc
FROM ranked
GROUP BY discriminator, source
ORDER BY discriminator, source
