"""Is a residual net an ensemble of shallow ones?"""
