-- Share of the labels that were accepted, and their overlap with human masks, by expert and its role.
-- $recipe = "": only recipes whose hash starts with this
SELECT
    expert.role AS role,
    expert.name AS expert,
    count(*) AS labels,
    count(*) FILTER (status = 'accepted') AS accepted,
    count(*) FILTER (status = 'accepted') / count(*) AS acceptance,
    avg(quality) AS quality,
    avg(human_iou) AS human_iou,
    avg(human_iou) FILTER (status = 'accepted') AS accepted_human_iou
FROM labels, unnest(experts) AS lineage(expert)
WHERE starts_with(recipe, $recipe)
GROUP BY ALL
ORDER BY role, expert
