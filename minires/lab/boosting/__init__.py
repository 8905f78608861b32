"""Is a residual net boosting over features?"""
