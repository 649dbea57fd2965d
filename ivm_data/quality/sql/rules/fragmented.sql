-- Masks in many pieces of which none is the main one.
-- scope: mask
-- reason: {value:.0f} pieces, the largest with less than {largest:.0%}
-- $recipe = "": only recipes whose hash starts with this
-- $pieces = 8: least number of connected components
-- $largest = 0.8: the largest component has less than this share of the pixels
SELECT recipe, sample_id, components AS value
FROM measures
WHERE starts_with(recipe, $recipe) AND components >= $pieces AND largest < $largest
