"""How far figures can be trusted: intervals, differences, temperatures that were chosen on labels."""
