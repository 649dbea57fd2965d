-- Labels that a threshold of the quality may accept, and whether a human mask finds them right.
SELECT
    sample_id, source, kind, quality, held_out,
    CASE WHEN area = 0 THEN 'absent' WHEN scope = 'whole image' THEN 'whole image' ELSE 'mask' END AS answer,
    CASE WHEN has_human THEN coalesce(human_iou >= 0.5, false) END AS is_right
FROM clean_labels
WHERE recipe = $recipe AND reason IN ('ok', 'target_absent', 'whole_image', 'uncertain')
ORDER BY part, position
