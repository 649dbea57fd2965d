-- How much of each task's frames is labeled, by task and camera, of rows that are of an episode; least covered first.
-- covered: accepted, or accepted as a frame in which the thing is not to be seen or which is needed whole.
-- $recipe = "": only recipes whose hash starts with this
-- $limit = 100: rows
SELECT
    instruction AS task,
    camera,
    count(DISTINCT episode) AS episodes,
    count(*) AS frames,
    count(*) FILTER (status = 'accepted') AS accepted,
    count(*) FILTER (status = 'review') AS review,
    count(*) FILTER (status = 'rejected') AS rejected,
    count(*) FILTER (status = 'no_target') AS no_target,
    count(*) FILTER (status = 'whole_image') AS whole_image,
    count(*) FILTER (outcome = 'rejection') AS rejections,
    count(*) FILTER (status IN ('accepted', 'no_target', 'whole_image')) / count(*) AS covered
FROM outcomes
WHERE starts_with(recipe, $recipe) AND episode IS NOT NULL
GROUP BY instruction, camera
ORDER BY covered, task, camera
LIMIT $limit
