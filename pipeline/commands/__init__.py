"""The commands of `pipe`, one file for each verb."""
