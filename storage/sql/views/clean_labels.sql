-- the labels that no cleaning rule excludes
-- columns: light
FROM labels
WHERE NOT EXISTS (FROM excluded AS e WHERE (e.recipe, e.sample_id) = (labels.recipe, labels.sample_id))
