-- Share of the inputs that ended as an accepted label, and its overlap with human masks, by {column}.
-- for acceptance_by_kind: {column} = kind
-- for acceptance_by_difficulty: {column} = difficulty
-- for acceptance_by_source: {column} = source
-- A failed input counts within its {column}; as 'unknown' where it is not known and its source has such words.
-- $recipe = "": only recipes whose hash starts with this
SELECT
    shown AS {column},
    count(*) AS inputs,
    count(*) FILTER (outcome = 'rejection') AS rejections,
    count(*) FILTER (status = 'accepted') AS accepted,
    count(*) FILTER (status = 'review') AS review,
    count(*) FILTER (status = 'rejected') AS rejected,
    count(*) FILTER (status = 'no_target') AS no_target,
    count(*) FILTER (status = 'whole_image') AS whole_image,
    count(*) FILTER (status = 'accepted') / count(*) AS coverage,
    avg(human_iou) AS human_iou,
    avg(human_iou) FILTER (status = 'accepted') AS accepted_human_iou
FROM (
    SELECT *, CASE
        WHEN outcome = 'rejection' AND {column} = ''
            AND (recipe, source) IN (SELECT DISTINCT (recipe, source) FROM outcomes WHERE {column} <> '') THEN 'unknown'
        ELSE {column}
    END AS shown
    FROM outcomes
)
WHERE starts_with(recipe, $recipe)
GROUP BY shown
ORDER BY shown
