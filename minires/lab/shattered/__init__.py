"""Do gradients of deep nets become white noise, and do shortcuts prevent it?"""
