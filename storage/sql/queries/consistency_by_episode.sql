-- How well masks carried from key frames on both sides agree, by episode, camera and task; least consistent first.
-- key_frames: frames with the mask that experts made of them; tracked: those whose mask was carried from these.
-- doubtful: frames of less consistency than $least; worst: the least consistent frame.
-- $recipe = "": only recipes whose hash starts with this
-- $least = 0.5: consistency under which a frame is doubtful
-- $limit = 100: rows
SELECT
    recipe, episode, camera, instruction AS task, count(*) AS frames,
    count(*) FILTER (tracked_from IS NULL) AS key_frames,
    count(*) FILTER (tracked_from IS NOT NULL) AS tracked,
    avg(consistency) AS consistency,
    min(consistency) AS least_consistency,
    arg_min(frame, consistency) AS worst,
    count(*) FILTER (consistency < $least) AS doubtful,
    count(*) FILTER (status IN ('accepted', 'no_target', 'whole_image')) / count(*) AS covered
FROM labels
WHERE starts_with(recipe, $recipe) AND episode IS NOT NULL
GROUP BY recipe, episode, camera, instruction
ORDER BY consistency NULLS LAST, recipe, episode, camera, task
LIMIT $limit
