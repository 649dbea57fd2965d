-- What the resolve stage chose among the grounders' boxes: how many, and how chosen ones differ from the rest.
-- $recipe = "": only recipes whose hash starts with this
SELECT
    expert,
    role,
    count(*) AS candidates,
    count(*) FILTER (chosen) AS chosen,
    count(*) FILTER (chosen) / count(*) AS chosen_share,
    avg(score) FILTER (chosen) AS chosen_score,
    avg(score) FILTER (NOT chosen) AS other_score,
    avg(p_yes) FILTER (chosen) AS chosen_p_yes,
    avg(p_yes) FILTER (NOT chosen) AS other_p_yes
FROM candidates
WHERE starts_with(recipe, $recipe)
GROUP BY ALL
ORDER BY expert, role
