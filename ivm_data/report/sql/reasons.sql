-- Why inputs ended where they did, with the first examples.
WITH {judged}
SELECT fate, coalesce(stage, 'gate') AS stage, reason, count(*) AS inputs, arg_min(
    {'instruction': instruction, 'detail': detail, 'image_uri': image_uri}, (part, position), 3
) AS examples
FROM (SELECT *, coalesce(status, 'rejection') AS fate FROM judged)
GROUP BY 1, 2, 3
ORDER BY any_value(outcome) DESC, inputs DESC, reason, 2
