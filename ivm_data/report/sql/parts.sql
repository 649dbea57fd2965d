-- How many parts there are.
SELECT count(DISTINCT part) AS parts FROM outcomes WHERE recipe = $recipe
