"""When does the deeper residual net get ahead of the shallower one?"""
