-- Masks that the segmenter itself was not sure of.
-- scope: mask
-- reason: least of stability and predicted IoU is {value:.2f}
-- $recipe = "": only recipes whose hash starts with this
-- $stability = 0.8: found below this stability
-- $predicted_iou = 0.6: or below this predicted IoU
SELECT recipe, sample_id, least(stability, predicted_iou) AS value
FROM labels
WHERE starts_with(recipe, $recipe) AND area > 0 AND (stability < $stability OR predicted_iou < $predicted_iou)
