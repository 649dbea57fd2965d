-- Masks that the verifier contradicts: no on what is kept, or yes on what is left.
-- scope: mask
-- reason: verification is {value:.2f}: kept no, or complement yes
-- $recipe = "": only recipes whose hash starts with this
-- $kept = 0.3: found where P(yes) on the kept pixels is below this
-- $complement = 0.7: or where P(yes) on the complement is above this
SELECT recipe, sample_id, verification AS value
FROM labels
WHERE starts_with(recipe, $recipe) AND area > 0 AND (p_yes_kept < $kept OR p_yes_complement > $complement)
