"""Where does the gradient go, at the start and as a network trains?"""
