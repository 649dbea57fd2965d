-- How well "the target is not in the image" is told, by the engine and by each sign alone, against human masks.
-- $recipe = "": only recipes whose hash starts with this
-- $presence = 0.5: the LMM says that the target is not there below this
-- $grounding = 0.3: the grounder says so when no chosen box scores this
-- $held_out = false: only human masks that nothing was calibrated on
WITH judged AS (
    SELECT status, area, presence, grounding, human_area = 0 AS absent
    FROM labels
    WHERE starts_with(recipe, $recipe) AND has_human AND (held_out OR NOT $held_out)
),
said AS (
    SELECT 1 AS place, 'engine, accepted as no_target' AS sign, absent, status = 'no_target' AS none FROM judged
    UNION ALL SELECT 2, 'engine, any label with an empty mask', absent, area = 0 FROM judged
    UNION ALL SELECT 3, 'LMM presence', absent, presence < $presence FROM judged
    UNION ALL SELECT 4, 'grounder score', absent, grounding < $grounding FROM judged
)
SELECT
    sign,
    count(*) AS labels,
    count(*) FILTER (absent) AS absent,
    count(*) FILTER (none) AS said_none,
    count(*) FILTER (none AND absent) / nullif(count(*) FILTER (none), 0) AS precision,
    count(*) FILTER (none AND absent) / nullif(count(*) FILTER (absent), 0) AS recall
FROM said
GROUP BY place, sign
ORDER BY place
