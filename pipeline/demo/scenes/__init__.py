"""Streets drawn by a seeded program, with exact labels: data for a demo and for a training that need no download."""
