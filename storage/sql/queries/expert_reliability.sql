-- How good each expert's own masks are: against the consensus and against human masks.
-- $recipe = "": only recipes whose hash starts with this
-- $iou = 0.5: a mask counts as right from this IoU with the human mask
SELECT
    expert,
    count(*) AS proposals,
    avg(score) AS score,
    avg(support) AS support,
    avg(predicted_iou) AS predicted_iou,
    avg(stability) AS stability,
    avg(iou_with_label) AS iou_with_label,
    count(human_iou) AS with_human,
    avg(human_iou) AS human_iou,
    count(*) FILTER (human_iou >= $iou) / nullif(count(human_iou), 0) AS right_share
FROM proposals
WHERE starts_with(recipe, $recipe)
GROUP BY expert
ORDER BY human_iou DESC NULLS LAST, expert
