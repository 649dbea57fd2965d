-- Which scores are missing, and how often: a score that no expert gave is NULL.
-- $recipe = "": only recipes whose hash starts with this
SELECT score, missing, labels, missing / nullif(labels, 0) AS share
FROM (
    UNPIVOT (
        SELECT count(*) AS labels, count(*) - count(COLUMNS([
            'understood', 'presence', 'grounding', 'margin', 'candidate', 'relation', 'predicted_iou', 'stability',
            'agreement', 'area_ratio', 'witnessed', 'in_context', 'p_yes_kept', 'p_yes_complement', 'verification',
            'consistency', 'quality', 'human_iou'
        ]))
        FROM labels
        WHERE starts_with(recipe, $recipe)
    )
    ON COLUMNS(* EXCLUDE (labels)) INTO NAME score VALUE missing
)
ORDER BY missing DESC, score
