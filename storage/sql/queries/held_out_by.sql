-- What the gate bought on human masks that nothing was trained or calibrated on: precision and IoU by {column}.
-- for held_out_by_kind: {column} = kind
-- for held_out_by_difficulty: {column} = difficulty
-- $recipe = "": only recipes whose hash starts with this
-- $iou = 0.5: a label counts as right from this IoU with the human mask
SELECT
    coalesce({column}, 'all') AS {column},
    count(*) AS labels,
    count(*) FILTER (status = 'accepted') AS accepted,
    count(*) FILTER (status = 'accepted') / nullif(count(*), 0) AS coverage,
    count(*) FILTER (human_iou >= $iou) / nullif(count(*), 0) AS precision_all,
    count(*) FILTER (status = 'accepted' AND human_iou >= $iou) / nullif(count(*) FILTER (status = 'accepted'), 0)
        AS precision_accepted,
    count(*) FILTER (status = 'no_target') AS no_target,
    count(*) FILTER (status = 'no_target' AND human_iou >= $iou) / nullif(count(*) FILTER (status = 'no_target'), 0)
        AS precision_no_target,
    count(*) FILTER (status = 'whole_image') AS whole_image,
    count(*) FILTER (status = 'whole_image' AND human_iou >= $iou) / nullif(count(*) FILTER (status = 'whole_image'), 0)
        AS precision_whole_image,
    avg(human_iou) AS human_iou_all,
    avg(human_iou) FILTER (status = 'accepted') AS human_iou_accepted
FROM labels
WHERE starts_with(recipe, $recipe) AND held_out AND human_iou IS NOT NULL
GROUP BY GROUPING SETS (({column}), ())
ORDER BY grouping({column}), {column}
