-- Which model@revision did what, in how many labels, by recipe.
-- $recipe = "": only recipes whose hash starts with this
SELECT recipe, expert.role AS role, expert.name AS expert, count(*) AS labels
FROM labels, unnest(experts) AS lineage(expert)
WHERE starts_with(recipe, $recipe)
GROUP BY ALL
ORDER BY recipe, role, expert
