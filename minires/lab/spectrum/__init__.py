"""How do the weights of short and long paths change as a net trains?"""
