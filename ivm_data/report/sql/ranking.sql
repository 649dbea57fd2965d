-- Is the mask right, and what do scores say of it, for the known masks.
WITH {judged}
SELECT is_right, sample_id, {scores} FROM judged WHERE known AND has_mask
