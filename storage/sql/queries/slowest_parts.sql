-- The parts that took the most stage seconds, with their slowest stage.
-- $recipe = "": only recipes whose hash starts with this
-- $limit = 10: rows
SELECT
    recipe,
    part,
    sum(seconds) AS seconds,
    max(rows) AS rows,
    1000 * sum(seconds) / nullif(max(rows), 0) AS ms_per_row,
    arg_max(stage, seconds) AS slowest_stage,
    max(seconds) / nullif(sum(seconds), 0) AS slowest_share
FROM timings
WHERE starts_with(recipe, $recipe)
GROUP BY recipe, part
ORDER BY seconds DESC, recipe, part
LIMIT $limit
