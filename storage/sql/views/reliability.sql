-- sensitivity and specificity of each expert, as STAPLE last estimated them
-- columns: reliability
FROM reliability_files
SEMI JOIN (SELECT recipe, max(measured_at) AS measured_at FROM reliability_files GROUP BY recipe) AS latest
USING (recipe, measured_at)
