-- Is the mask right, for the known masks from the highest score down.
WITH {judged}
SELECT is_right
FROM judged
WHERE known AND has_mask AND {score} IS NOT NULL
ORDER BY {score} DESC, sample_id
