-- How often each reason ended an input or decided about a label.
-- $recipe = "": only recipes whose hash starts with this
SELECT
    outcome,
    coalesce(stage, 'gate') AS stage,
    status,
    reason,
    count(*) AS inputs,
    count(*) / sum(count(*)) OVER () AS share
FROM outcomes
WHERE starts_with(recipe, $recipe)
GROUP BY ALL
ORDER BY inputs DESC, outcome, stage, status, reason
