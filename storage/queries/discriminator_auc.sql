-- Can a discriminator tell right masks from wrong ones? AUC of D against human IoU, by source (0.5 = chance).
-- $recipe = "": only recipes whose hash starts with this
-- $iou = 0.5: a label counts as right from this IoU with the human mask
WITH ranked AS (
    SELECT
        discriminator,
        source,
        human_iou >= $iou AS is_right,
        rank() OVER same_source + (count(*) OVER (PARTITION BY discriminator, source, d) - 1) / 2 AS mean_rank
    FROM weights JOIN labels USING (recipe, sample_id)
    WHERE starts_with(recipe, $recipe) AND human_iou IS NOT NULL
    WINDOW same_source AS (PARTITION BY discriminator, source ORDER BY d)
),
counted AS (
    SELECT
        discriminator,
        source,
        count(*) FILTER (is_right) AS right_ones,
        count(*) FILTER (NOT is_right) AS wrong_ones,
        sum(mean_rank) FILTER (is_right) AS rank_sum
    FROM ranked
    GROUP BY ALL
)
SELECT
    discriminator,
    source,
    right_ones,
    wrong_ones,
    (rank_sum - right_ones * (right_ones + 1) / 2) / nullif(right_ones * wrong_ones, 0) AS auc
FROM counted
ORDER BY discriminator, source
