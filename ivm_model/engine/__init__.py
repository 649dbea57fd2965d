"""What every optimisation needs: steps, losses, averaged weights, processes, states on disk."""
