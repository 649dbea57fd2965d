-- Masks of (nearly) the whole image: they ask nothing of a model.
-- scope: mask
-- reason: covers {value:.1%} of the image, limit {share:.0%}
-- $recipe = "": only recipes whose hash starts with this
-- $share = 0.95: least share of the image that is found
SELECT recipe, sample_id, area / (width::DOUBLE * height) AS value
FROM labels
WHERE starts_with(recipe, $recipe) AND area / (width::DOUBLE * height) >= $share
