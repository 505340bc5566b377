"""A store through post-hoc methods into figures."""
