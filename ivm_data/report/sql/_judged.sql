judged AS (
    -- known: a human mask can judge the label; has_mask: experts proposed one; is_right: it overlaps the human mask.
    SELECT
        *,
        outcome = 'label' AND human_iou IS NOT NULL AND (held_out OR NOT $held_out) AS known,
        len(proposals) > 0 AS has_mask,
        human_iou >= $right AS is_right
    FROM outcomes
    WHERE recipe = $recipe
)
