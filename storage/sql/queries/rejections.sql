-- The inputs that ended without a label, with the stage that gave up, the reason and what was seen.
-- $recipe = "": only recipes whose hash starts with this
-- $limit = 100: rows
SELECT stage, reason, detail, source, image_uri, instruction, part, position
FROM rejections
WHERE starts_with(recipe, $recipe)
ORDER BY stage, reason, part, position
LIMIT $limit
