"""Do long paths teach a residual net anything?"""
