-- What a verification threshold would keep (coverage) and how right that would be (precision, mean human IoU).
-- $recipe = "": only recipes whose hash starts with this
-- $steps = 20: thresholds between 0 and 1
-- $iou = 0.5: a label counts as right from this IoU with the human mask
WITH binned AS (
    SELECT
        least(floor(verification * $steps), $steps - 1)::INTEGER AS bin,
        count(*) AS labels,
        count(human_iou) AS with_human,
        count(*) FILTER (human_iou >= $iou) AS right_ones,
        sum(human_iou) AS iou_sum
    FROM labels
    WHERE starts_with(recipe, $recipe)
    GROUP BY bin
),
steps AS (SELECT unnest(range($steps))::INTEGER AS bin),
kept AS (
    SELECT
        steps.bin,
        sum(labels) OVER above AS labels,
        sum(with_human) OVER above AS with_human,
        sum(right_ones) OVER above AS right_ones,
        sum(iou_sum) OVER above AS iou_sum
    FROM steps LEFT JOIN binned USING (bin)
    WINDOW above AS (ORDER BY steps.bin DESC)
)
SELECT
    bin / $steps AS threshold,
    coalesce(labels, 0)::BIGINT AS labels,
    coalesce(labels, 0) / (SELECT sum(labels) FROM binned) AS coverage,
    coalesce(with_human, 0)::BIGINT AS with_human,
    right_ones / nullif(with_human, 0) AS precision,
    iou_sum / nullif(with_human, 0) AS human_iou
FROM kept
ORDER BY threshold
