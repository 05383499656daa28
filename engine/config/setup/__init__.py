"""A configuration for those who have none yet: asked for, or made from an older one."""
