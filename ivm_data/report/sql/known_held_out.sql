-- Labels with a held-out human mask.
WITH {judged}
SELECT count(*) AS n FROM judged WHERE held_out AND known
