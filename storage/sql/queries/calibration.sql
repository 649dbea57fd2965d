-- Reliability of the calibrated quality: its mean against the share of right labels, by bin, with the ECE of all bins.
-- $recipe = "": only recipes whose hash starts with this
-- $bins = 10: number of equal bins of the quality from 0 to 1
-- $iou = 0.5: a label counts as right from this IoU with the human mask
-- $held_out = false: only human masks that nothing was calibrated on
WITH binned AS (
    SELECT
        least(floor(quality * $bins), $bins - 1)::INTEGER AS bin,
        count(*) AS labels,
        avg(quality) AS quality,
        count(*) FILTER (human_iou >= $iou) / count(*) AS right_share
    FROM labels
    WHERE starts_with(recipe, $recipe) AND human_iou IS NOT NULL AND quality IS NOT NULL AND (held_out OR NOT $held_out)
    GROUP BY bin
)
SELECT
    bin / $bins AS quality_from,
    (bin + 1) / $bins AS quality_to,
    labels,
    quality,
    right_share,
    right_share - quality AS gap,
    sum(labels * abs(right_share - quality)) OVER () / sum(labels) OVER () AS ece
FROM binned
ORDER BY bin
