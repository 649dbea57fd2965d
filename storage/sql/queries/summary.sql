-- What became of every input, and how good the accepted labels are; one row a recipe.
-- $recipe = "": only recipes whose hash starts with this
SELECT
    recipe,
    count(*) AS inputs,
    count(*) FILTER (outcome = 'rejection') AS rejections,
    count(*) FILTER (outcome = 'label') AS labels,
    count(*) FILTER (status = 'accepted') AS accepted,
    count(*) FILTER (status = 'review') AS review,
    count(*) FILTER (status = 'rejected') AS rejected,
    count(*) FILTER (status = 'no_target') AS no_target,
    count(*) FILTER (status = 'whole_image') AS whole_image,
    count(*) FILTER (status = 'accepted') / count(*) AS coverage,
    avg(quality) FILTER (status = 'accepted') AS accepted_quality,
    avg(human_iou) AS human_iou,
    avg(human_iou) FILTER (status = 'accepted') AS accepted_human_iou
FROM outcomes
WHERE starts_with(recipe, $recipe)
GROUP BY recipe
ORDER BY recipe
