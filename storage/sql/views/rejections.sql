-- every input that ended without a label, with the stage that gave up and why
-- columns: light
SELECT
    recipe, part, position, sample_id, source, kind, difficulty, image_uri, instruction,
    episode, camera, frame, time_s, stage, reason, detail
FROM light_files
WHERE outcome = 'rejection'
