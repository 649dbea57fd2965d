-- every label, with all its scores
-- columns: light
SELECT * EXCLUDE (outcome, stage, detail)
FROM light_files
WHERE outcome = 'label'
