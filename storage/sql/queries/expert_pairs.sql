-- How far every two experts agree: mean IoU of their masks, and the share of pairs that overlap by half.
-- $recipe = "": only recipes whose hash starts with this
SELECT
    pair.first AS first_expert,
    pair.second AS second_expert,
    count(*) AS labels,
    avg(pair.iou) AS iou,
    count(*) FILTER (pair.iou >= 0.5) / count(*) AS agree_share
FROM labels, unnest(pairs) AS compared(pair)
WHERE starts_with(recipe, $recipe)
GROUP BY ALL
ORDER BY iou, first_expert, second_expert
