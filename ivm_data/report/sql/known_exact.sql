-- Whether all masks that judge were drawn by `ivm world`; NULL where there is none.
WITH {judged}
SELECT bool_and(starts_with(source, 'world-')) AS exact FROM judged WHERE known
