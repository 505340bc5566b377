"""From counts by falling score to areas and rates: of one curve, of a curve that comes in parts, of many at once."""
